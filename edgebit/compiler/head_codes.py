"""Rows of an embedding as 16-bit codes with a power-of-two step each, for the planes of the exact lm_head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LARGEST_STEPS = 127.5  # the largest entry of a row in steps, unless it is clipped
_SMALLEST_STEP = -120  # exponent: steps / 256 are at least exact float32

U16 = npt.NDArray[np.uint16]
F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Coded:
    """Rows of the table [n][H]: float32 values, the same in units of S / 256 and rounded, codes; S is
    2**exponents [n].
    """

    values: F32
    units: F32
    codes: U16
    exponents: I32

    @property
    def decoded(self) -> F32:
        """What the codes stand for."""
        return self._scaled(self.codes.astype(np.float32) - np.float32(32768.0))

    @property
    def rounded(self) -> F32:
        """What the units stand for: as `decoded` where nothing was clipped."""
        return self._scaled(self.units)

    @property
    def screened_steps(self) -> F32:
        """ê, what the top six bits stand for, in steps S."""
        return np.float32(4.0) * (self.codes >> np.uint16(10)) - np.float32(126.0)

    @property
    def screened(self) -> F32:
        return np.asarray(self.screened_steps * np.ldexp(np.float32(1.0), self.exponents)[:, None])

    def _scaled(self, units: F32) -> F32:
        return units * np.ldexp(np.float32(1.0), self.exponents - 8)[:, None]


def values_of(bits: U16) -> F32:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def step_exponents(bits: U16, outliers: npt.NDArray[np.int64]) -> I32:
    """Exponents of the steps [n]. The largest entry of a row is at most 127.5 steps, but a step is halved as
    long as the squares that clipping adds to δ are less than what finer codes save of (4 S)² / 12 each.
    """
    magnitudes = np.abs(values_of(bits))
    magnitudes[:, outliers] = 0.0
    largest = magnitudes.max(axis=1).astype(np.float64)
    mantissa, exponents = np.frexp(largest / _LARGEST_STEPS)
    exponents = np.where(mantissa == 0.5, exponents - 1, exponents)  # a power of two is its own step
    exponents = np.where(largest > 0.0, np.maximum(exponents, _SMALLEST_STEP), _SMALLEST_STEP)
    rows = np.arange(len(bits))
    while rows.size:
        rows = rows[exponents[rows] > _SMALLEST_STEP]
        scaled = magnitudes[rows] * np.ldexp(np.float32(1.0), 1 - exponents[rows])[:, None]
        clipped = _sum_of_squares(np.maximum(scaled - np.float32(_LARGEST_STEPS), np.float32(0.0)))
        before = _sum_of_squares(np.maximum(scaled - np.float32(2 * _LARGEST_STEPS), np.float32(0.0)))
        rows = rows[clipped - before < bits.shape[1] * (4 - 1) * 16 / 12]
        exponents[rows] -= 1
    return exponents.astype(np.int32)


def encode(bits: U16, exponents: I32) -> Coded:
    values = values_of(bits)
    with np.errstate(over="ignore"):  # outliers
        units = values * np.ldexp(np.float32(1.0), 4 - exponents)[:, None] * np.float32(16.0)
    units = np.rint(units)
    codes = np.clip(units, -32768.0, 32767.0) + np.float32(32768.0)
    return Coded(values, units, codes.astype(np.uint16), exponents)


def _sum_of_squares(x: F32) -> npt.NDArray[np.float64]:
    return np.asarray((x.astype(np.float64) ** 2).sum(axis=1))
