"""Codes of 4 bits of an embedding table: what the lm_head of form s4 screens before its planes.

A row e is a = Pᵀe, kept as 64 coefficients, and the rest e' = e - Pa, which is rotated to y = R e' so that no
entry stands out, and coded as ŷ = S (2u - 15), u = 0..15. With g = Pᵀh and w = h - Pg of a hidden state h the
logit is

    e·h = a·g + ŷ·(Rw) + (y - ŷ)·(Rw) + a·(Pᵀw)

whatever a is: `eb_query_prepare` reads Rw and g as integers, and five numbers bound what is left out, as
those of the planes do (head_planes.py): S, sa, N ≥ ‖y - ŷ‖, A ≥ ‖a∘σ - sa q‖, K ≥ ‖e‖, ‖ŷ‖ and ‖a‖.

Sections, little-endian; rows and columns padded as the planes' are:

* ``codes`` u8 [V][128 + width / 2]: high bytes, then low bytes of the coefficients q + 32768; then for each
  group of 256 columns of y two lines of 64 bytes: u of columns j and 64 + j, of 128 + j and 192 + j.
* ``code_bounds`` f32 [V/16][5][16]: S, sa, N, A, K of 16 rows side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgebit.compiler.head_bounds import (
    BOUNDS,
    GROUP,
    I16,
    LOST,
    ROW_COEFFICIENTS,
    U8,
    bounds_section,
    coefficient_bytes,
    quantise,
    round_up,
    squares,
)
from edgebit.compiler.head_codes import F32, U16, values_of
from edgebit.compiler.head_components import Components
from edgebit.compiler.head_rotation import rotate
from edgebit.compiler.head_survivors import SurvivorCount
from edgebit.compiler.memory import align
from edgebit.compiler.weights import ROWS, Array, Chunks, bfloat16_rows

_CLIP = 0.3352 / 2
"""S in root mean squares of y: the uniform quantiser of 16 levels with the least error for a normal
distribution (Max 1960), which the entries of a rotated row nearly have.
"""

_ROW_BLOCK = 128  # rows rotated at a time: they stay in the cache


@dataclass(frozen=True)
class CodedRows:
    """Codes u [n][width] of rows, q [n][64], and S, sa, N, A, K [n][5]."""

    codes: U8
    coefficients: I16
    bounds: F32

    @property
    def screened(self) -> F32:
        """ŷ"""
        return np.asarray((np.float32(2.0) * self.codes - np.float32(15.0)) * self.bounds[:, :1])


class RowCoder:
    """Codes rows of a table whose states have these components."""

    def __init__(self, columns: int, components: Components) -> None:
        self.width = align(columns, GROUP)
        self._matrix = components.matrix.astype(np.float64)
        self._sigma = components.sigma

    def code(self, bits: U16) -> CodedRows:
        """Rows as bfloat16 bits [n][H]."""
        columns = bits.shape[1]
        rest = np.zeros((self.width, len(bits)))
        rest[:columns] = values_of(bits).T
        energy = squares(rest.T)
        a = self._matrix.T @ rest[:columns]
        rest[:columns] -= self._matrix @ a
        y = rotate(rest)
        step = round_up(np.sqrt(squares(y.T) / self.width) * _CLIP)
        u = np.clip(np.floor(y / np.where(step > 0, 2.0 * step, 1.0) + 8.0), 0.0, 15.0)
        approximation = (2.0 * u - 15.0) * step
        coefficients = np.ascontiguousarray(a.T)
        scaled = coefficients * self._sigma
        unit, q = quantise(scaled)
        row, kept = np.sqrt(energy), np.sqrt(squares(coefficients))
        bounds = [
            np.sqrt(squares((y - approximation).T)) + LOST * (row + kept),
            np.sqrt(squares(scaled - q * unit[:, None].astype(np.float64))),
            np.max([row, np.sqrt(squares(approximation.T)), kept], axis=0),
        ]
        rounded = [round_up(np.asarray(bound) * (1 + LOST)) for bound in bounds]
        return CodedRows(
            np.ascontiguousarray(u.T).astype(np.uint8), q, np.stack([step, unit, *rounded], axis=1)
        )


class S4Packer:
    """Sections of a table [V][H], which ``data`` maps and `PlanePacker` has accepted; reads it once, here.

    ``count`` is told how every row is screened.
    """

    def __init__(
        self,
        name: str,
        rows: int,
        columns: int,
        data: Callable[[], Array],
        components: Components,
        count: SurvivorCount | None = None,
    ) -> None:
        coder = RowCoder(columns, components)
        padded = align(rows, ROWS)
        self._codes = np.zeros((padded, row_bytes(coder.width)), np.uint8)
        self._bounds = np.zeros((padded, BOUNDS), np.float32)
        table = data()
        for first in range(0, rows, _ROW_BLOCK):
            block = slice(first, min(first + _ROW_BLOCK, rows))
            coded = coder.code(bfloat16_rows(name, np.asarray(table[block]), first))
            self._codes[block] = _packed(coded)
            self._bounds[block] = coded.bounds
            if count is not None:
                count.add(block, coded.screened, coded.coefficients, coded.bounds)

    def sections(self) -> dict[str, tuple[int, Chunks]]:
        """Size and producer of both sections, by the names of plan.h (``eb_head``)."""
        return {
            "codes": (self._codes.nbytes, self._chunks),
            "code_bounds": bounds_section(self._bounds),
        }

    def _chunks(self) -> Iterator[bytes]:
        for first in range(0, len(self._codes), 4096):
            yield self._codes[first : first + 4096].tobytes()


def row_bytes(width: int) -> int:
    """Of a row of codes."""
    return ROW_COEFFICIENTS + width // 2


def _packed(coded: CodedRows) -> U8:
    parts = coded.codes.reshape(len(coded.codes), -1, 4, 64)
    lines = parts[:, :, 0::2] | parts[:, :, 1::2] << np.uint8(4)
    return np.concatenate([coefficient_bytes(coded.coefficients), lines.reshape(len(lines), -1)], axis=1)
