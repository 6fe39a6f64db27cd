"""The weights of a ``com.microsoft::MatMulNBits`` node of two bits, as trits and multipliers if they are any.

B u8 [N, blocks, block/4]: four codes a byte, low bits first; a weight is (code - zero point) · scale of its
block. A block is ternary where all codes that occur in it are the zero point or equally far from it. Its
multiplier is that distance times its scale; which zero point was chosen, and the sign of the scale, show in
the trits alone. A block of zeros has any multiplier.

The bytes are never unpacked: which codes occur in four is a table of 256 entries, and so are their trits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_ROWS = 1024  # of a matrix at a time
_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)
_CODES = np.arange(256, dtype=np.uint8)[:, None] >> _SHIFTS & 3  # [byte, place] → code
_OCCURRING: Bytes = np.bitwise_or.reduce(1 << _CODES, axis=1).astype(np.uint8)  # bit c: code c occurs


def _distances() -> npt.NDArray[np.int8]:
    """[codes that occur, zero point] → the one distance from the zero point, 0 of zeros alone, -1 of many."""
    table = np.zeros((16, 4), np.int8)
    for occurring in range(16):
        for zero in range(4):
            found = {abs(code - zero) for code in range(4) if occurring >> code & 1} - {0}
            table[occurring, zero] = -1 if len(found) > 1 else max(found, default=0)
    return table


def _trits() -> Bytes:
    """[zero point + 4 (scale is negative), byte] → the byte of codes trit + 1."""
    table = np.empty((8, 256), np.uint8)
    for index in range(8):
        signs = np.sign(_CODES.astype(np.int8) - np.int8(index % 4)) * (1 if index < 4 else -1)
        table[index] = np.bitwise_or.reduce((signs + 1).astype(np.uint8) << _SHIFTS, axis=1)
    return table


_DISTANCE, _TRITS = _distances(), _trits()


@dataclass(frozen=True)
class TwoBits:
    """``packed`` maps B, ``scales`` f32 [N, blocks], ``zeros`` u8 [N, blocks] of 0 to 3; ``columns`` is K."""

    packed: Callable[[], Bytes]
    scales: Floats
    zeros: Bytes
    columns: int

    def multipliers(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """f32 [N, blocks], 0 of a block of zeros, and which blocks are not ternary."""
        found = np.concatenate([self._distance(begin, part) for begin, part in self._parts()])
        return np.abs(self.scales) * np.maximum(found, 0), (found < 0) & (self.scales != 0)

    def trits(self) -> Iterator[Bytes]:
        """u8 [rows, K/4] of codes trit + 1, a block of rows at a time."""
        for begin, part in self._parts():
            rows = slice(begin, begin + len(part))
            table = self.zeros[rows] + 4 * (self.scales[rows] < 0).astype(np.uint8)
            bytes_ = _TRITS[table[..., None], part]
            yield np.ascontiguousarray(bytes_.reshape(len(part), -1)[:, : self.columns // 4])

    def values(self, row: int, block: int) -> list[float]:
        """All that a block holds."""
        codes = np.unique(_CODES[self._part(row, row + 1)[0, block]]).astype(np.int8)
        zero, scale = np.int8(self.zeros[row, block]), self.scales[row, block]
        return sorted(float(value) for value in (codes - zero) * scale)

    def _distance(self, begin: int, part: Bytes) -> npt.NDArray[np.int8]:
        occurring = np.bitwise_or.reduce(_OCCURRING[part], axis=2)
        distance: npt.NDArray[np.int8] = _DISTANCE[occurring, self.zeros[begin : begin + len(part)]]
        return distance

    def _parts(self) -> Iterator[tuple[int, Bytes]]:
        rows = len(self.scales)
        for begin in range(0, rows, _ROWS):
            yield begin, self._part(begin, min(begin + _ROWS, rows))

    def _part(self, begin: int, end: int) -> Bytes:
        """Rows of B; what lies behind column K of the last block is made the zero point."""
        part = self.packed()[begin:end]
        used = -(-self.columns // 4)
        if used == part.shape[1] * part.shape[2]:
            return part
        flat = part.reshape(end - begin, -1).copy()
        flat[:, used:] = 0x55 * self.zeros[begin:end, -1:]
        return flat.reshape(part.shape)
