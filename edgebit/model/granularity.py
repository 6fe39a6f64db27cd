"""Which scales a matrix of floats has that holds ternary values: one, one a row, or one a group of columns.

Checkpoints of models that were trained ternary may hold the products ``scale · trit`` as floats (TriLM,
BitCPM). Their scales are found again exactly: a matrix is ternary with groups of g columns if in each group
all values that are not zero have one magnitude. The largest g is taken, and one scale for the matrix where
all rows have the same. Shards of tensor parallelism, whose scales differ, are rows of different scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgebit.errors import CheckpointError
from edgebit.model.float_bits import Array, Bits, infinity_bits, magnitude_bits, of_bits
from edgebit.model.ternary import Floats, row_blocks

SMALLEST_GROUP = 16
"""Columns. Fewer would be too few to tell ternary values from any others."""

_SAMPLED_ROWS = 64


class FloatMatrix(Protocol):
    """A stored matrix of floats, such as `StoredTensor`."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def stored_rows(self, begin: int, end: int) -> Array: ...

    def float_rows(self, begin: int, end: int) -> Floats: ...


@dataclass(frozen=True)
class Scales:
    """``values`` float32: [1] for the whole matrix, [N, 1] for rows, [N, K/g] for groups of g columns."""

    values: Floats
    columns: int

    @property
    def granularity(self) -> str:
        """ "tensor", "row" or "group of 128"."""
        if self.values.ndim == 1:
            return "tensor"
        groups = self.values.shape[1]
        return "row" if groups == 1 else f"group of {self.columns // groups}"


def find_scales(matrix: FloatMatrix) -> Scales:
    """The scales of a matrix [N, K] of ternary values, read in blocks of rows.

    Raises CheckpointError, with the error that the nearest ternary matrix would have, where it has more than
    three values in groups of 16.
    """
    rows, columns = matrix.shape
    group, found = columns, []
    for begin, end in row_blocks((rows, columns)):
        stored = matrix.stored_rows(begin, end)
        groups = _largest_group(_magnitudes(matrix, stored), group)
        if groups is None:
            raise CheckpointError(f"{_where(matrix)}: {_not_ternary(matrix)}")
        group, magnitudes = groups
        found.append(of_bits(magnitudes, stored.dtype))
    scales = np.concatenate([np.repeat(block, columns // group // block.shape[1], axis=1) for block in found])
    return Scales(_one_if_equal(scales), columns)


def require_ternary(matrix: FloatMatrix) -> None:
    """What `find_scales` refuses, by a sample of rows: early, without reading the whole matrix."""
    rows, columns = matrix.shape
    for begin, end in _sample(rows):
        if _largest_group(_magnitudes(matrix, matrix.stored_rows(begin, end)), columns) is None:
            raise CheckpointError(f"{_where(matrix)}: {_not_ternary(matrix)}")


def ternary_error(matrix: FloatMatrix) -> float:
    """‖W − W'‖ / ‖W‖ for the nearest W' that absmean finds with one scale a row, on a sample of rows."""
    lost = total = 0.0
    for begin, end in _sample(matrix.shape[0]):
        values = matrix.float_rows(begin, end).astype(np.float64)
        mean = np.maximum(np.abs(values).mean(axis=1, keepdims=True), 1e-30)
        trits = np.clip(np.rint(values / mean), -1, 1)
        used = np.maximum(np.abs(trits).sum(axis=1, keepdims=True), 1)
        scale = (values * trits).sum(axis=1, keepdims=True) / used
        lost += float(((values - scale * trits) ** 2).sum())
        total += float((values**2).sum())
    return float(np.sqrt(lost / total)) if total else 0.0


def _largest_group(magnitudes: Bits, group: int) -> tuple[int, Bits] | None:
    """The largest number of columns, at most and a divisor of ``group``, that always have one magnitude
    beside zero; and these magnitudes [rows, groups].
    """
    rows = len(magnitudes)
    candidate: int | None = group
    while candidate is not None:
        parts = magnitudes.reshape(rows, -1, candidate)
        largest = parts.max(axis=2)
        if ((parts == 0) | (parts == largest[:, :, None])).all():
            return candidate, largest
        candidate = next(_smaller_groups(candidate), None)
    return None


def _smaller_groups(group: int) -> Iterator[int]:
    """Powers of two that divide ``group`` and are smaller, the largest first."""
    size = 1 << (group.bit_length() - 1)
    while size >= SMALLEST_GROUP:
        if size < group and group % size == 0:
            yield size
        size //= 2


def _magnitudes(matrix: FloatMatrix, stored: Array) -> Bits:
    magnitudes = magnitude_bits(stored)
    if (magnitudes >= infinity_bits(stored.dtype)).any():
        raise CheckpointError(f"{_where(matrix)}: holds NaN or infinity; the checkpoint is damaged")
    return magnitudes


def _one_if_equal(scales: Floats) -> Floats:
    """[N, G] as [1] where all scales that are not zero are the same."""
    used = scales[scales != 0]
    if used.size == 0:
        return np.ones(1, np.float32)
    if (used == used[0]).all():
        return np.asarray(used[:1], np.float32)
    return scales


def _sample(rows: int) -> list[tuple[int, int]]:
    """The first rows and some from the middle: shards of tensor parallelism have other scales there."""
    first = (0, min(rows, _SAMPLED_ROWS))
    middle = rows // 2
    return [first] if rows <= 2 * _SAMPLED_ROWS else [first, (middle, middle + _SAMPLED_ROWS)]


def _not_ternary(matrix: FloatMatrix) -> str:
    return (
        f"holds more than three values even in groups of {SMALLEST_GROUP}: the nearest ternary matrix is off "
        f"by {ternary_error(matrix):.1%}; edgebit compiles ternary models only"
    )


def _where(matrix: FloatMatrix) -> str:
    file = getattr(matrix, "file", None)
    return f"tensor {matrix.name}" if file is None else f"{file}: tensor {matrix.name}"
