"""Scales of ternary products of floats as their kernels read them: float32 [blocks][groups][16 rows].

Matrices of one product have the smallest groups that any of them needs; scales of rows or of a whole matrix
are repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from edgebit.compiler.weights import ROWS, Array, Chunks, Packed, pad
from edgebit.errors import CompileError

_LINE = 16  # columns


@dataclass(frozen=True)
class MatrixScales:
    """The scales of one matrix: [1], [N, 1] or [N, K/g], mapped when they are read."""

    name: str
    shape: tuple[int, ...]
    matrix: Packed
    data: Callable[[], Array]

    @property
    def groups(self) -> int:
        return self.shape[-1]

    def check(self) -> None:
        rows, columns = self.matrix.rows, self.matrix.columns
        of_rows = len(self.shape) == 2 and self.shape[0] == rows and self.groups > 0
        if self.shape != (1,) and not (of_rows and columns % self.groups == 0):
            raise CompileError(
                f"tensor {self.name}: {list(self.shape)} scales of a matrix [{rows}, {columns}], expected "
                f"[1], [{rows}, 1] or [{rows}, groups of columns]"
            )

    def blocks(self, rows: int, groups: int, padded_groups: int) -> Array:
        """[rows/16][padded groups][16]; rows and groups of padding have the scale 0."""
        given = np.asarray(self.data()).astype(np.float32)
        if not np.isfinite(given).all():
            raise CompileError(f"tensor {self.name}: scale {given[~np.isfinite(given)][0]} is not finite")
        every = np.zeros((rows, padded_groups), np.float32)
        repeated = np.repeat(np.atleast_2d(given), groups // self.groups, axis=1)
        every[: self.matrix.rows, :groups] = np.broadcast_to(repeated, (self.matrix.rows, groups))
        return every.reshape(-1, ROWS, padded_groups).swapaxes(1, 2)


@dataclass(frozen=True)
class GroupScales:
    """A section and how many lines of 16 columns its groups have."""

    size: int
    chunks: Chunks
    group_lines: int
    groups: int


def group_scales(parts: Sequence[MatrixScales], interleaved: bool, blocks: int) -> GroupScales:
    """Matrices one below the other, or ``interleaved`` in blocks of 16 rows; padded to ``blocks`` in all.

    Raises CompileError for groups that the kernels cannot take.
    """
    for part in parts:
        part.check()
    columns = parts[0].matrix.columns
    width, groups = pad(columns), lcm(*(part.groups for part in parts))
    group = width if groups == 1 else columns // groups
    if columns % groups or group % _LINE or width % group:
        raise CompileError(
            f"tensor {parts[0].name}: groups of {columns / groups:g} columns; kernels take multiples of 64, "
            "and 16 and 32"
        )
    padded = width // group

    def chunks() -> Iterator[bytes]:
        rows = pad if interleaved else _whole_blocks
        made = (part.blocks(rows(part.matrix.rows), groups, padded) for part in parts)
        if interleaved:
            yield np.stack(list(made), axis=1).astype("<f4").tobytes()
            return
        done = 0
        for values in made:
            done += len(values)
            yield values.astype("<f4").tobytes()
        yield bytes((blocks - done) * padded * ROWS * 4)

    return GroupScales(blocks * padded * ROWS * 4, chunks, group // _LINE, padded)


def _whole_blocks(rows: int) -> int:
    return -(-rows // ROWS) * ROWS
