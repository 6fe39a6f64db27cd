"""Compiling with the form of the lm_head that was asked for, or that pays."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebit.calibration import States, calibrated, run_on_text
from edgebit.compiler import CompiledModel, Target, compile_graph
from edgebit.compiler.decoder import logits_table
from edgebit.compiler.head import ExactHead, FullHead, Int8Head
from edgebit.compiler.head_planes import PlanesDoNotPay
from edgebit.graph import OnnxModel
from edgebit.progress import Progress

SMALLEST_SCREENED = 1 << 24
"""Entries of a table (32 MB) from which on screening pays: preparing a query takes the time of reading some
megabytes.
"""


_MEASURED_STATES = 64


class LossyHeadWarning(UserWarning):
    """What a form of the lm_head that is not exact changes."""


@contextmanager
def compile_with_head(
    graph: OnnxModel, target: Target, context: int | None, head: str, progress: Progress
) -> Iterator[CompiledModel]:
    """The model compiled with its lm_head kept as ``head`` says: "exact", "full", "int8", or "auto".

    To be written before the block ends: its weights may come from a temporary file. Raises CompileError,
    TargetError, LinkError; PlanesDoNotPay for "exact" only.
    """
    with tempfile.TemporaryDirectory(prefix="edgebit-calibration-") as folder:
        if head == "int8":
            warnings.warn(int8_effect(graph, Path(folder), progress), LossyHeadWarning, stacklevel=2)
            yield compile_graph(graph, target, context, progress, Int8Head())
            return
        compiled = None
        if head == "exact" or (head == "auto" and _is_large(graph)):
            try:
                compiled = _exact(graph, target, context, Path(folder), progress)
            except PlanesDoNotPay:
                if head == "exact":
                    raise
        yield compiled or compile_graph(graph, target, context, progress)


def _is_large(graph: OnnxModel) -> bool:
    rows, columns = logits_table(graph.ir).shape.numpy()
    return bool(rows * columns >= SMALLEST_SCREENED)


def _exact(
    graph: OnnxModel, target: Target, context: int | None, folder: Path, progress: Progress
) -> CompiledModel:
    tensor = logits_table(graph.ir)
    calibration = calibrated(graph, lambda: tensor.numpy(), folder, progress)
    form = ExactHead(calibration.components)
    compiled = compile_graph(graph, target, context, progress, form)
    compiled.weights.take_body(calibration.weights, calibration.path)
    return compiled


def int8_effect(graph: OnnxModel, folder: Path, progress: Progress) -> str:
    """How far int8 rows move the predictions of ``graph`` on the built-in text, as a sentence."""
    exact, rounded = (folder / name for name in ("exact", "int8"))
    exact.mkdir()
    rounded.mkdir()
    table = np.asarray(logits_table(graph.ir).numpy()).astype(np.float32)
    scales = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    coarse = np.rint(table / np.where(scales > 0, scales, 1)) * scales
    before = _log_probabilities(run_on_text(graph, FullHead(), exact, progress)[0], table)
    states, _ = run_on_text(graph, Int8Head(), rounded, progress)
    steps = np.abs(states).max(axis=1, keepdims=True) / np.float32(127)
    after = _log_probabilities(np.rint(states / np.where(steps > 0, steps, 1)) * steps, coarse)
    divergence = (np.exp(before) * (before - after)).sum(axis=1).mean()
    same = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    return (
        f"head int8 is lossy: on the built-in text the likeliest token stays the same at {same:.1%} of "
        f"{len(before)} positions, mean KL divergence {divergence:.2g}"
    )


def _log_probabilities(states: States, table: States) -> npt.NDArray[np.float64]:
    """At most _MEASURED_STATES rows, evenly spread."""
    chosen = states[:: -(-len(states) // _MEASURED_STATES)]
    logits = (chosen @ table.T).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
