"""Ternary matrices as ggml and bitnet.cpp store them, read as K-major bytes.

======  ===================================================================================================
I2_S    the whole matrix as one row of blocks of 128 (written on ARM: 64) weights, four to a byte, the first
        quarter of a block in the highest bits; then one float32 multiplier
TQ2_0   blocks of 256 weights of a row: 64 bytes, ``w[128 h + 32 l + m] = ((q[32 h + m] >> 2 l) & 3) - 1``,
        and a float16 multiplier
TQ1_0   blocks of 256: 48 bytes of five trits, 4 of four, and a float16 multiplier; trit n of byte b is
        ``(((b 3^n) & 255) 3 >> 8) - 1``
======  ===================================================================================================

Sources: quantize_i2_s of microsoft/BitNet, dequantize_row_tq1_0 and _tq2_0 of ggml (SPEC 3). In all of them
four weights that follow each other in a row lie in the same bits of four bytes that follow each other, so a
little-endian word holds, at one shift, the four codes of one K-major byte.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.float_bits import trit_codes
from edgebit.model.gguf.container import GgufTensor
from edgebit.model.gguf.tensor_types import I2_S, TQ1_0, tensor_type
from edgebit.model.tensor_files import StoredTensor
from edgebit.model.ternary import (
    TRITS_PER_BYTE,
    Bytes,
    Floats,
    MasterWeights,
    TernaryTensor,
    pack_codes,
    row_blocks,
)

# absmean is never below 1e-5 (SPEC 1.3); real multipliers are 0.005 to 200 (a wrong sense included).
_PLAUSIBLE_SCALES = (0.99e-5, 1e4)

_BLOCK = 256  # weights of TQ1_0 and TQ2_0

Words = npt.NDArray[np.uint32]


def ternary_tensor(stored: GgufTensor, i2s_block: int) -> TernaryTensor:
    """The reader of a tensor of one of the TERNARY_TYPES."""
    if stored.dtype == I2_S:
        return I2sTrits(stored, i2s_block)
    return Tq1Trits(stored) if stored.dtype == TQ1_0 else Tq2Trits(stored)


def fields(words: Words, shift: int) -> Bytes:
    """K-major bytes out of words of four codes, each in bits shift, shift + 1 of its byte."""
    codes = (words >> np.uint32(shift)) & np.uint32(0x03030303)
    folded = codes | codes >> np.uint32(6) | codes >> np.uint32(12) | codes >> np.uint32(18)
    return np.asarray(folded, np.uint8)


class GgufTrits(TernaryTensor):
    """A matrix [N, K] in one of the three types."""

    def __init__(self, stored: GgufTensor) -> None:
        super().__init__(stored.name, (stored.shape[0], stored.shape[1]))
        self._stored = stored

    def _error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self._stored.file}: tensor {self.name}: {message}")


class I2sTrits(GgufTrits):
    """``block``: 128, or 64 where the file was written on ARM; the file does not say which."""

    def __init__(self, stored: GgufTensor, block: int) -> None:
        super().__init__(stored)
        self._block = block

    @cached_property
    def scale(self) -> np.float32:
        end = self.shape[0] * self.shape[1] // TRITS_PER_BYTE
        scale = np.frombuffer(self._stored.raw()[end : end + 4].tobytes(), "<f4")[0]
        least, most = _PLAUSIBLE_SCALES
        if not least <= scale <= most:
            raise self._error(f"has the multiplier {scale}, expected {least} to {most}; {_NOT_I2S}")
        return np.float32(scale)

    def rows(self, begin: int, end: int) -> Bytes:
        columns = self.shape[1]
        first, last = begin * columns // self._block, -(-end * columns // self._block)
        size = self._block // TRITS_PER_BYTE
        stored = np.ascontiguousarray(self._stored.raw()[first * size : last * size])
        words = stored.view("<u4").reshape(-1, size // 4)
        invalid = words & (words >> np.uint32(1)) & np.uint32(0x55555555)
        if invalid.any():
            block = first + int(np.argmax(invalid.any(axis=1)))
            raise self._error(f"code 3 in weights {block * self._block} and following; {_NOT_I2S}")
        packed = np.stack([fields(words, shift) for shift in (6, 4, 2, 0)], axis=1).reshape(-1)
        start = (begin * columns - first * self._block) // TRITS_PER_BYTE
        return packed[start : start + (end - begin) * columns // TRITS_PER_BYTE].reshape(end - begin, -1)


_NOT_I2S = (
    "the file is damaged or in a layout of bitnet.cpp without ACT_PARALLEL; take the model's official I2_S "
    "file, or its safetensors"
)


class BlockTrits(GgufTrits):
    """Blocks of 256 with a float16 multiplier each: the matrix has one ``scale`` where all blocks that are
    not zero have the same.
    """

    zero: ClassVar[bytes]  # a block of zero trits, without its multiplier

    @cached_property
    def scale(self) -> np.float32:
        least, most = self._range
        if least != most:
            raise self._error(
                f"its blocks have multipliers from {least:.6g} to {most:.6g} (a spread of "
                f"{most / least - 1:.2%}), int8 activations need one for a whole matrix; if the model was "
                "trained so, its activations are floats: --activation-quantization none"
            )
        return least

    @property
    def scales(self) -> Floats:
        return np.array([self._range[0]], np.float32) if self.scales_shape == (1,) else self._stored_scales()

    @cached_property
    def scales_shape(self) -> tuple[int, ...]:
        least, most = self._range
        return (1,) if least == most else (self.shape[0], self.shape[1] // _BLOCK)

    @cached_property
    def _range(self) -> tuple[np.float32, np.float32]:
        """The smallest and the largest multiplier of a block that is not zero; 1 where all are."""
        scales = self._stored_scales().reshape(-1)
        if scales[0] == 0 or (scales != scales[0]).any():
            codes = self._blocks(0, self.shape[0])[..., :-2].reshape(len(scales), -1)
            used = (codes != np.frombuffer(self.zero, np.uint8)).any(axis=1)
            scales = scales[used] if used.any() else np.ones(1, np.float32)
        least, most = scales.min(), scales.max()
        if not (least > 0 and np.isfinite(most)):
            raise self._error(f"has multipliers from {least} to {most}, expected positive numbers")
        return np.float32(least), np.float32(most)

    def _stored_scales(self) -> Floats:
        stored = np.ascontiguousarray(self._blocks(0, self.shape[0])[..., -2:])
        return stored.view("<f2")[..., 0].astype(np.float32)

    def rows(self, begin: int, end: int) -> Bytes:
        blocks = self._blocks(begin, end)
        return self._unpack(np.ascontiguousarray(blocks[..., :-2]), begin).reshape(end - begin, -1)

    def _blocks(self, begin: int, end: int) -> Bytes:
        kind = tensor_type(self._stored.dtype)
        rows, columns = self.shape
        return self._stored.raw().reshape(rows, columns // kind.block, kind.size)[begin:end]

    @abstractmethod
    def _unpack(self, quads: Bytes, begin: int) -> Bytes:
        """K-major bytes [rows, blocks, 64] of blocks without their multipliers."""


class Tq2Trits(BlockTrits):
    zero = bytes([0x55] * 64)

    def _unpack(self, quads: Bytes, begin: int) -> Bytes:
        words = quads.view("<u4").reshape(*quads.shape[:2], 2, 8)
        invalid = words & (words >> np.uint32(1)) & np.uint32(0x55555555)
        if invalid.any():
            row, block = np.argwhere(invalid.any(axis=(2, 3)))[0]
            where = f"row {begin + row}, columns {256 * block} to {256 * block + 255}"
            raise self._error(f"code 3 in {where} is not a trit; the file is damaged")
        return np.stack([fields(words, shift) for shift in (0, 2, 4, 6)], axis=3)


class Tq1Trits(BlockTrits):
    zero = bytes([0x80] * 48 + [0x7F] * 4)

    def _unpack(self, quads: Bytes, begin: int) -> Bytes:
        parts = [
            fields(TQ1_CODES[n][np.ascontiguousarray(quads[..., a:b])].view("<u4"), 0)
            for a, b, digits in ((0, 32, 5), (32, 48, 5), (48, 52, 4))
            for n in range(digits)
        ]
        return np.concatenate(parts, axis=-1)


_BYTES = np.arange(256)
TQ1_CODES = [((_BYTES * 3**n & 255) * 3 >> 8).astype(np.uint8) for n in range(5)]


class FloatTrits(TernaryTensor):
    """A matrix of floats: -d, 0 and d, as converters write ternary weights, or else masters (absmean).

    Absmean of ternary values would give the right trits and, as the zeros lower the mean, a multiplier that
    is a third too small. Which of the two a matrix is takes reading it, so that is put off.
    """

    scale_is_computed = True

    def __init__(self, stored: StoredTensor, takes_masters: bool) -> None:
        super().__init__(stored.name, (stored.shape[0], stored.shape[1]))
        self._stored = stored
        self._takes_masters = takes_masters

    @cached_property
    def scale(self) -> np.float32:
        return self._masters.scale if self._magnitude is None else self._magnitude

    def rows(self, begin: int, end: int) -> Bytes:
        if self._magnitude is None:
            return self._masters.rows(begin, end)
        return pack_codes(trit_codes(self._stored.stored_rows(begin, end)))

    @cached_property
    def _magnitude(self) -> np.float32 | None:
        """d, or None where there is more than one value beside zero."""
        found: np.float32 | None = None
        for begin, end in row_blocks(self.shape):
            values = np.abs(self._stored.float_rows(begin, end))
            values = values[values != 0]
            if values.size and found is None:
                found = np.float32(values[0])
            if (values != found).any():
                return None
        return np.float32(1) if found is None else found

    @cached_property
    def _masters(self) -> MasterWeights:
        if not self._takes_masters:
            raise CheckpointError(
                f"{self._stored.file}: tensor {self.name} holds more than three values; edgebit compiles "
                "ternary models only"
            )
        return MasterWeights(self._stored)


class HeadPermutedRows(TernaryTensor):
    """Rows of a query or key projection in the order of transformers, from a file of architecture "llama".

    There the two halves of a head, which rotary embedding turns as pairs, are interleaved: row 2 i + s of a
    head is row s · head_dim / 2 + i here (permute in convert_hf_to_gguf.py).
    """

    def __init__(self, stored: TernaryTensor, head_dim: int) -> None:
        super().__init__(stored.name, stored.shape)
        self.scale_is_computed = stored.scale_is_computed
        self._stored = stored
        self._head_dim = head_dim

    @cached_property
    def scale(self) -> np.float32:
        return self._stored.scale

    @property
    def scales(self) -> Floats:
        scales = self._stored.scales
        if scales.ndim == 1:
            return scales
        return separate_halves(scales, self._head_dim)

    @property
    def scales_shape(self) -> tuple[int, ...]:
        return self._stored.scales_shape

    def check(self) -> None:
        self._stored.check()

    def rows(self, begin: int, end: int) -> Bytes:
        size = self._head_dim
        first, last = begin // size * size, -(-end // size) * size
        return separate_halves(self._stored.rows(first, last), size)[begin - first : end - first]


_Rows = TypeVar("_Rows", Bytes, Floats)


def separate_halves(rows: _Rows, head_dim: int) -> _Rows:
    """Whole heads of rows in transformers' order, from those whose halves are interleaved (see above)."""
    heads = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(heads).reshape(rows.shape)
