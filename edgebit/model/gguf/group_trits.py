"""Ternary matrices of ggml with a float16 scale for every group of columns, read as K-major bytes.

======  ===================================================================================================
Q2_0    blocks of 64 (files of PrismML made before ggml took the type over: 128) weights of a row: float16
        scale, then four codes a byte, the first in the lowest bits, code = value + 1; code 3 would be +2
PQ2_0   the same, always of 128
PTQ1_0  blocks of 128: 24 bytes of five trits, 2 of four, float16 scale last. Trit n of byte b is as in TQ1_0
======  ===================================================================================================

Sources: dequantize_row_q2_0 of ggml, PrismML's fork of it (SPEC 3).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from edgebit.errors import CheckpointError
from edgebit.model.gguf.container import GgufTensor
from edgebit.model.gguf.tensor_types import PTQ1_0, tensor_type
from edgebit.model.gguf.trits import TQ1_CODES
from edgebit.model.scaled_trits import ScaledTrits
from edgebit.model.ternary import Bytes, Floats, pack_codes

_SCALE = 2  # bytes


def group_tensor(stored: GgufTensor) -> GroupTrits:
    """The reader of a tensor of one of the GROUP_TYPES."""
    return Ptq1Trits(stored) if stored.dtype == PTQ1_0 else Q2Trits(stored)


class GroupTrits(ScaledTrits):
    """A matrix [N, K] in blocks of ``group`` columns; scales are read each time they are asked for."""

    scale_is_computed = True
    scale_first: ClassVar[bool]

    def __init__(self, stored: GgufTensor) -> None:
        super().__init__(stored.name, (stored.shape[0], stored.shape[1]))
        self._stored = stored
        self._kind = tensor_type(stored.dtype)

    @property
    def scales(self) -> Floats:
        blocks = self._blocks(0, self.shape[0])
        stored = blocks[..., :_SCALE] if self.scale_first else blocks[..., -_SCALE:]
        values = np.ascontiguousarray(stored).view("<f2")[..., 0].astype(np.float32)
        if not np.isfinite(values).all():
            raise self._error("has a scale that is no finite number; the file is damaged")
        return values

    @property
    def scales_shape(self) -> tuple[int, ...]:
        return self.shape[0], self.shape[1] // self._kind.block

    def rows(self, begin: int, end: int) -> Bytes:
        blocks = self._blocks(begin, end)
        codes = blocks[..., _SCALE:] if self.scale_first else blocks[..., :-_SCALE]
        return self._unpack(np.ascontiguousarray(codes), begin).reshape(end - begin, -1)

    def _blocks(self, begin: int, end: int) -> Bytes:
        rows, groups = self.scales_shape
        return self._stored.raw().reshape(rows, groups, self._kind.size)[begin:end]

    def _error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self._stored.file}: tensor {self.name}: {message}")

    @abstractmethod
    def _unpack(self, stored: Bytes, begin: int) -> Bytes:
        """K-major bytes of blocks [rows, groups, bytes] without their scales."""


class Q2Trits(GroupTrits):
    scale_first = True

    def _unpack(self, stored: Bytes, begin: int) -> Bytes:
        invalid = stored & (stored >> np.uint8(1)) & np.uint8(0x55)
        if invalid.any():
            row, block = np.argwhere(invalid.any(axis=2))[0]
            first = self._kind.block * int(block)
            raise self._error(
                f"code 3 (+2) in row {begin + row}, columns {first} to {first + self._kind.block - 1}: the "
                "model is not ternary, or the file damaged"
            )
        return stored


class Ptq1Trits(GroupTrits):
    scale_first = False

    def _unpack(self, stored: Bytes, begin: int) -> Bytes:
        parts = [
            TQ1_CODES[n][stored[..., a:b]]
            for a, b, digits in ((0, 16, 5), (16, 24, 5), (24, 26, 4))
            for n in range(digits)
        ]
        return pack_codes(np.concatenate(parts, axis=-1))
