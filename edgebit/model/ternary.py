"""Ternary matrices [N, K] with one float32 multiplier, read block by block from what a checkpoint stores.

The one representation that leaves this module is *K-major*: uint8 [N, K/4], four trits of a row to a byte,
lowest bits first, code = value + 1. Code 3 does not exist. Three kinds of source, told apart by the dtype
of the stored tensor and by the presence of a scale, never by a repository's name (SPEC 2):

===============  ==============================  ==========================================================
source           stored                          trits and multiplier
===============  ==============================  ==========================================================
`PackedTrits`    U8 [N/4, K] and weight_scale    byte row r holds rows r, r+N/4, r+2N/4, r+3N/4, low bits up
`UnpackedTrits`  float [N, K] of -1, 0, 1, scale as they are (the parameters of a loaded AutoBitLinear)
`MasterWeights`  float [N, K], no scale          absmean of the whole tensor (SPEC 1.3)
===============  ==============================  ==========================================================

Absmean is exactly ``s = 1 / max(mean|W|, 1e-5); W = clamp(rint(W*s), -1, 1); multiplier = 1/s`` in float32
with ties to even, so |W|*s = 0.5 becomes 0. The mean is accumulated in float64 over row blocks and rounded
once; torch sums float32 pairwise and may land on a neighbouring float, which moves a trit only where |W|
lies on the tie.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.float_bits import infinity_bits, of_bits, trit_codes, widened
from edgebit.model.tensor_files import FLOAT_DTYPES, StoredTensor

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

TRITS_PER_BYTE = 4
_BLOCK_ELEMENTS = 1 << 21  # 8 MB of float32: what a reader holds at a time


def pack_codes(codes: Bytes) -> Bytes:
    """Codes [N, K] (0, 1, 2; K a multiple of 4) to K-major bytes [N, K/4]."""
    return _packed_quads(np.ascontiguousarray(codes).view("<u4"))


def _packed_quads(quads: npt.NDArray[np.uint32]) -> Bytes:
    """Codes in the bytes of words side by side in one: no two of the sum's terms share a bit."""
    gathered = quads * np.uint32(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6)
    gathered >>= np.uint32(24)
    packed: Bytes = gathered.astype(np.uint8)
    return packed


def unpack_codes(packed: Bytes) -> npt.NDArray[np.int8]:
    """K-major bytes [N, K/4] to trits [N, K] of -1, 0, 1."""
    shifts = np.arange(0, 8, 2, dtype=np.uint8)
    codes = (packed[..., None] >> shifts) & np.uint8(3)
    trits: npt.NDArray[np.int8] = codes.reshape(*packed.shape[:-1], -1).view(np.int8) - np.int8(1)
    return trits


class TernaryTensor(ABC):
    """A ternary matrix [N, K] that is read when asked for; nothing but ``scale`` is kept between calls.

    ``scale_is_computed``: the multiplier is not stored, the whole matrix has to be read for it.
    """

    scale_is_computed = False

    def __init__(self, name: str, shape: tuple[int, int]) -> None:
        self.name = name
        self.shape = shape

    @cached_property
    @abstractmethod
    def scale(self) -> np.float32:
        """The multiplier: weights are ``scale`` times the trits."""

    @property
    def scales(self) -> Floats:
        """All multipliers: [1] as ``scale``, or [N, 1] of rows, or [N, K/g] of groups of g columns."""
        return np.array([self.scale], np.float32)

    @property
    def scales_shape(self) -> tuple[int, ...]:
        """The shape of ``scales``, without reading what takes the whole matrix where that can be told."""
        return (1,)

    def check(self) -> None:  # noqa: B027 - most have nothing to look at
        """Raises CheckpointError where a look at a few rows shows that the matrix is not ternary."""

    @abstractmethod
    def rows(self, begin: int, end: int) -> Bytes:
        """K-major bytes of rows begin..end. Raises CheckpointError where a stored value is not a trit."""

    def blocks(self) -> Iterator[Bytes]:
        """All rows in order, in blocks of bounded memory."""
        yield from (self.rows(begin, end) for begin, end in row_blocks(self.shape))

    def packed(self) -> Bytes:
        """The whole matrix as K-major bytes [N, K/4]."""
        return np.concatenate(list(self.blocks()))

    def _error(self, message: str) -> CheckpointError:
        return CheckpointError(f"tensor {self.name}: {message}")


def row_blocks(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Begin and end of row blocks of at most `_BLOCK_ELEMENTS` elements."""
    step = max(1, _BLOCK_ELEMENTS // shape[1])
    for begin in range(0, shape[0], step):
        yield begin, min(begin + step, shape[0])


class PackedTrits(TernaryTensor):
    """The layout of transformers' ``pack_weights``."""

    def __init__(self, weight: StoredTensor, scale: StoredTensor, scale_is_multiplier: bool) -> None:
        quarter, columns = weight.shape
        super().__init__(weight.name, (quarter * TRITS_PER_BYTE, columns))
        self._quarter = quarter
        self._weight = weight
        self._scale = scale
        self._scale_is_multiplier = scale_is_multiplier

    @cached_property
    def scale(self) -> np.float32:
        return read_scale(self._scale, self._scale_is_multiplier)

    def rows(self, begin: int, end: int) -> Bytes:
        stored = self._weight.map()
        parts = []
        while begin < end:
            lane, row = divmod(begin, self._quarter)
            count = min(end - begin, self._quarter - row)
            quads = np.ascontiguousarray(stored[row : row + count]).view("<u4") >> np.uint32(2 * lane)
            quads &= np.uint32(0x03030303)
            if (quads & (quads >> np.uint32(1)) & np.uint32(0x01010101)).any():
                r, k = np.argwhere(quads.view(np.uint8) == 3)[0]
                raise self._error(f"code 3 at row {begin + r}, column {k} is not a trit; the file is damaged")
            parts.append(_packed_quads(quads))
            begin += count
        return np.concatenate(parts)


class UnpackedTrits(TernaryTensor):
    """Trits stored as floating-point numbers beside their scale."""

    def __init__(self, weight: StoredTensor, scale: StoredTensor, scale_is_multiplier: bool) -> None:
        super().__init__(weight.name, (weight.shape[0], weight.shape[1]))
        self._weight = weight
        self._scale = scale
        self._scale_is_multiplier = scale_is_multiplier

    @cached_property
    def scale(self) -> np.float32:
        return read_scale(self._scale, self._scale_is_multiplier)

    def rows(self, begin: int, end: int) -> Bytes:
        values = self._weight.map()[begin:end].astype(np.float32)
        foreign = ~np.isin(values, (-1.0, 0.0, 1.0))
        if foreign.any():
            r, k = np.argwhere(foreign)[0]
            found = f"{values[r, k]} at row {begin + r}, column {k}"
            raise self._error(f"has a weight_scale but holds {found}, expected -1, 0 or 1")
        return pack_codes((values + 1).astype(np.uint8))


class MasterWeights(TernaryTensor):
    """Floating-point weights, made ternary by absmean."""

    scale_is_computed = True

    def __init__(self, weight: StoredTensor) -> None:
        super().__init__(weight.name, (weight.shape[0], weight.shape[1]))
        self._weight = weight

    @cached_property
    def scale(self) -> np.float32:
        return np.float32(1) / self._inverse

    @cached_property
    def _inverse(self) -> np.float32:
        stored = self._weight.map()
        total = sum(
            float(np.abs(widened(stored[a:b])).sum(dtype=np.float64)) for a, b in row_blocks(self.shape)
        )
        mean = np.float32(total / stored.size)
        if not np.isfinite(mean):
            raise self._error(
                "holds NaN, infinity or values too large for float32; the checkpoint is damaged"
            )
        return np.float32(1) / max(mean, np.float32(1e-5))

    def rows(self, begin: int, end: int) -> Bytes:
        stored = self._weight.stored_rows(begin, end)
        return pack_codes(trit_codes(stored, self._smallest(stored.dtype)))

    def _smallest(self, dtype: np.dtype[Any]) -> int:
        """The first magnitude that becomes 1: rint(|W|*s) is 0 up to 0.5."""
        unsigned = np.dtype(f"u{dtype.itemsize}")

        def becomes_one(bits: int) -> bool:
            magnitude = of_bits(np.array([bits], unsigned), dtype)[0]
            return bool(np.rint(magnitude * self._inverse) > 0)

        return bisect_left(range(infinity_bits(dtype)), True, key=becomes_one)


def read_scale(stored: StoredTensor, is_multiplier: bool) -> np.float32:
    """The multiplier behind a stored ``weight_scale``; refused unless it is one positive finite number."""
    where = f"{stored.file}: tensor {stored.name}"
    if stored.dtype not in FLOAT_DTYPES or stored.shape not in ((), (1,)):
        raise CheckpointError(
            f"{where}: {stored.dtype} {list(stored.shape)}, expected one floating-point number"
        )
    value = stored.map().astype(np.float32).reshape(())[()]
    with np.errstate(divide="ignore"):
        multiplier = value if is_multiplier else np.float32(1) / value
    if not (np.isfinite(multiplier) and multiplier > 0 and np.isfinite(value)):
        raise CheckpointError(f"{where}: is {value}, expected a positive finite scale")
    return np.float32(multiplier)
