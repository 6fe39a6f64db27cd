"""Compiling with the form of the lm_head that was asked for, or that pays."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgebit.calibration import calibrated
from edgebit.compiler import CompiledModel, CompileOptions, Target, compile_graph
from edgebit.compiler.decoder import logits_table
from edgebit.compiler.head import ExactHead, Int8Head
from edgebit.compiler.head_planes import PlanesDoNotPay
from edgebit.graph import OnnxModel
from edgebit.lossy import LossyWarning, effect_of_int8_cache, effect_of_int8_head
from edgebit.progress import Progress

SMALLEST_SCREENED = 1 << 24
"""Entries of a table (32 MB) from which on screening pays: preparing a query takes the time of reading some
megabytes.
"""


@contextmanager
def compile_with_head(
    graph: OnnxModel, target: Target, options: CompileOptions, head: str, progress: Progress
) -> Iterator[CompiledModel]:
    """The model compiled with its lm_head kept as ``head`` says: "exact", "full", "int8", or "auto".

    To be written before the block ends: its weights may come from a temporary file. What is lossy is
    measured, and told as a LossyWarning. Raises CompileError, TargetError, LinkError; PlanesDoNotPay for
    "exact" only.
    """
    with tempfile.TemporaryDirectory(prefix="edgebit-calibration-") as folder:
        work = Path(folder)
        if options.kv == "int8":
            warnings.warn(effect_of_int8_cache(graph, work, progress), LossyWarning, stacklevel=3)
        if head == "int8":
            warnings.warn(effect_of_int8_head(graph, work, progress), LossyWarning, stacklevel=3)
            options = replace(options, form=Int8Head())
        compiled = None
        if head == "exact" or (head == "auto" and _is_large(graph)):
            try:
                compiled = _exact(graph, target, options, work, progress)
            except PlanesDoNotPay:
                if head == "exact":
                    raise
        yield compiled or compile_graph(graph, target, options, progress)


def _is_large(graph: OnnxModel) -> bool:
    rows, columns = logits_table(graph.ir).shape.numpy()
    return bool(rows * columns >= SMALLEST_SCREENED)


def _exact(
    graph: OnnxModel, target: Target, options: CompileOptions, folder: Path, progress: Progress
) -> CompiledModel:
    tensor = logits_table(graph.ir)
    calibration = calibrated(graph, lambda: tensor.numpy(), options.kv, folder, progress)
    chosen = replace(options, form=ExactHead(calibration.components))
    compiled = compile_graph(graph, target, chosen, progress)
    compiled.weights.take_body(calibration.weights, calibration.path)
    return compiled
