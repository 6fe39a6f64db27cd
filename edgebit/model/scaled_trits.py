"""Ternary matrices with a multiplier for every row or group of columns."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np

from edgebit.errors import CheckpointError
from edgebit.model.float_bits import trit_codes
from edgebit.model.granularity import FloatMatrix, find_scales, require_ternary
from edgebit.model.tensor_files import FLOAT_DTYPES, StoredTensor
from edgebit.model.ternary import Bytes, Floats, PackedTrits, TernaryTensor, pack_codes


class ScaledTrits(TernaryTensor):
    """``scale`` exists where the whole matrix has one; ask for ``scales``."""

    @property
    @abstractmethod
    def scales(self) -> Floats: ...

    @cached_property
    def scale(self) -> np.float32:
        if self.scales_shape != (1,):
            raise self._error(f"has {list(self.scales_shape)} multipliers, expected one for the matrix")
        return np.float32(self.scales[0])


class FloatProducts(ScaledTrits):
    """Floats that are products of scales and trits; the scales are found by reading the matrix once.

    Raises CheckpointError, with the measured error, for other floats; ``check`` looks at a sample of rows.
    """

    scale_is_computed = True

    def __init__(self, stored: FloatMatrix) -> None:
        super().__init__(stored.name, (stored.shape[0], stored.shape[1]))
        self._stored = stored

    def check(self) -> None:
        try:
            require_ternary(self._stored)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; masters that become ternary when they run need a quantization_config with "
                'quant_method "bitnet" in config.json'
            ) from None

    @property
    def scales(self) -> Floats:
        return self._scales

    @cached_property
    def _scales(self) -> Floats:
        return find_scales(self._stored).values

    @property
    def scales_shape(self) -> tuple[int, ...]:
        return tuple(self._scales.shape)

    def rows(self, begin: int, end: int) -> Bytes:
        return pack_codes(trit_codes(self._stored.stored_rows(begin, end)))


class PackedScaledTrits(ScaledTrits):
    """Packed trits whose ``weight_scale`` is [N, 1], of rows, or [N, K/g], of groups of g columns: what
    `packing.py` writes. Scales are 0 where all trits are.
    """

    def __init__(self, weight: StoredTensor, scale: StoredTensor, scale_is_multiplier: bool) -> None:
        self._trits = PackedTrits(weight, scale, scale_is_multiplier)
        super().__init__(weight.name, self._trits.shape)
        rows, columns = self.shape
        if scale.dtype not in FLOAT_DTYPES or scale.shape[0] != rows or columns % max(scale.shape[1], 1):
            raise CheckpointError(
                f"{scale.file}: tensor {scale.name} is {scale.dtype} {list(scale.shape)}, expected floats "
                f"[{rows}, groups] with whole groups of {columns} columns"
            )
        self._scale = scale
        self._scale_is_multiplier = scale_is_multiplier

    @cached_property
    def scales(self) -> Floats:
        stored = self._scale.map().astype(np.float32)
        with np.errstate(divide="ignore"):
            multipliers = stored if self._scale_is_multiplier else np.float32(1) / stored
        if not (np.isfinite(multipliers).all() and (multipliers >= 0).all()):
            where = f"{self._scale.file}: tensor {self._scale.name}"
            raise CheckpointError(f"{where} holds a scale that is no positive finite number")
        return multipliers

    @property
    def scales_shape(self) -> tuple[int, ...]:
        return tuple(self._scale.shape)

    def rows(self, begin: int, end: int) -> Bytes:
        return self._trits.rows(begin, end)
