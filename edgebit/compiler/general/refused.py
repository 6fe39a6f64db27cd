"""Standard operators that a static plan cannot have, and the way out of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from edgebit.compiler.converters import Attributes, Converter, Converters, Inputs
from edgebit.errors import CompileError

_WAYS_OUT: Sequence[tuple[str, str]] = (
    (
        "If Loop Scan",
        "steps that are decided where it runs: unroll or decide them when the model is exported",
    ),
    (
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct "
        "SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence",
        "sequences of tensors: write it with Split, Concat and Gather",
    ),
    (
        "Compress NonMaxSuppression NonZero Unique",
        "the shape of its result depends on values: keep all elements, with a mask where they do not count",
    ),
    ("TopK", "it sorts: take ArgMax or ReduceMax, or sort the output in your program"),
    (
        "DFT STFT",
        "write it as a product with a matrix of cosines and sines (examples/classifiers/keywords.py)",
    ),
    (
        "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
        "random numbers: make them an input",
    ),
    ("ScatterElements", "it writes where its indices say: write it with Where"),
)


def _refuse(way_out: str) -> Converter:
    def converter(_: relax.BlockBuilder, __: Inputs, ___: Attributes) -> Any:
        raise CompileError(way_out)

    return converter


REFUSED: Converters = {("", name): _refuse(way_out) for names, way_out in _WAYS_OUT for name in names.split()}
