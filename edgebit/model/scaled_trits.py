"""Ternary matrices with a multiplier for every row or group of columns."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np

from edgebit.model.granularity import FloatMatrix, find_scales, require_ternary
from edgebit.model.ternary import Bytes, Floats, TernaryTensor, pack_codes


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
        require_ternary(self._stored)

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
        return pack_codes((np.sign(self._stored.float_rows(begin, end)) + 1).astype(np.uint8))
