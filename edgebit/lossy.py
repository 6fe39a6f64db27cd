"""What the choices that are not exact change, measured on the built-in text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebit.calibration import States, run_on_text
from edgebit.compiler import CompileOptions
from edgebit.compiler.decoder import logits_table
from edgebit.compiler.head import Int8Head
from edgebit.graph import OnnxModel
from edgebit.progress import Progress

_MEASURED_STATES = 64
_LARGEST = np.float32(127)


class LossyWarning(UserWarning):
    """A choice that changes results, and how much."""


def effect_of_int8_head(graph: OnnxModel, folder: Path, progress: Progress) -> str:
    """How far int8 rows move the predictions of ``graph``, as a sentence."""
    table = _table(graph)
    before = _log_probabilities(_states(graph, CompileOptions(), folder / "exact", progress), table)
    states = _states(graph, CompileOptions(form=Int8Head()), folder / "int8-head", progress)
    return f"head int8 {_effect(before, _log_probabilities(_rounded(states), _rounded(table)))}"


def effect_of_int8_cache(graph: OnnxModel, folder: Path, progress: Progress) -> str:
    """How far an int8 KV cache moves the predictions of ``graph``, as a sentence."""
    table = _table(graph)
    before, after = (
        _log_probabilities(_states(graph, CompileOptions(kv=kv), folder / f"{kv}-cache", progress), table)
        for kv in ("f16", "int8")
    )
    return f"kv int8 {_effect(before, after)}"


def _states(graph: OnnxModel, options: CompileOptions, folder: Path, progress: Progress) -> States:
    folder.mkdir()
    states, _weights = run_on_text(graph, options, folder, progress)
    return states


def _table(graph: OnnxModel) -> States:
    return np.asarray(logits_table(graph.ir).numpy()).astype(np.float32)


def _rounded(rows: States) -> States:
    """Rows as int8 with one scale each leave them."""
    scales = np.abs(rows).max(axis=1, keepdims=True) / _LARGEST
    return np.asarray(np.rint(rows / np.where(scales > 0, scales, 1)) * scales)


def _log_probabilities(states: States, table: States) -> npt.NDArray[np.float64]:
    """Of at most _MEASURED_STATES rows, evenly spread."""
    chosen = states[:: -(-len(states) // _MEASURED_STATES)]
    logits = (chosen @ table.T).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _effect(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> str:
    divergence = (np.exp(before) * (before - after)).sum(axis=1).mean()
    same = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    return (
        f"is lossy: on the built-in text the likeliest token stays the same at {same:.1%} of {len(before)} "
        f"positions, mean KL divergence {divergence:.2g}"
    )
