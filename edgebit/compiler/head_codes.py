"""Rows of an embedding as 16-bit codes with a power-of-two step each, for the planes of the exact lm_head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LARGEST_STEPS = 127.5  # the largest entry of a row in steps, unless it is clipped
_SMALLEST_STEP = -120  # exponent: steps / 256 are at least exact float32
_MAGNITUDE = np.uint16(0x7FFF)  # of bfloat16 bits: ordered as the magnitudes are
_MANTISSA_BITS, _EXPONENT_BIAS = 7, 127  # of bfloat16
_ROUNDER = np.float32((3 << 22) + (1 << 15))
"""Added to a float32 of -2**15 to 2**15 - 1 it rounds it to an integer, ties to even, and that with 2**15
added is the low bits of the sum.
"""
_CLEARLY_CLIPPED = 160.0  # steps

U16 = npt.NDArray[np.uint16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Exponents = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Escapes:
    """Entries that are not what their codes stand for: rows and columns [m], ascending; ``lost`` [m]: value
    less the nearest multiple of S / 256; ``rest`` [m]: that multiple less ê, in units of S / 256.
    """

    rows: I64
    columns: I64
    lost: F64
    rest: F32


def values_of(bits: U16) -> F32:
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def step_exponents(bits: U16, outliers: I64) -> I32:
    """Exponents of the steps S [n]. The largest entry of a row is at most 127.5 steps, but a step is halved
    as long as the squares that clipping adds to δ are less than what finer codes save of (4 S)² / 12 each.
    """
    magnitudes = bits & _MAGNITUDE
    magnitudes[:, outliers] = 0
    largest = values_of(magnitudes.max(axis=1)).astype(np.float64)
    mantissa, exponents = np.frexp(largest / _LARGEST_STEPS)
    exponents = np.where(mantissa == 0.5, exponents - 1, exponents)  # a power of two is its own step
    exponents = np.where(largest > 0.0, np.maximum(exponents, _SMALLEST_STEP), _SMALLEST_STEP)
    rows = np.arange(len(bits))
    enough = bits.shape[1] * (4 - 1) * 16 / 12
    while rows.size:
        rows = rows[exponents[rows] > _SMALLEST_STEP]
        halved, found = exponents[rows] - 1, magnitudes[rows]
        few = _clearly_clipped(found, halved) * _added_square(_CLEARLY_CLIPPED) < enough
        rows, halved, found = rows[few], halved[few], found[few]
        rows = rows[_clipped_squares(found, halved) < enough]
        exponents[rows] -= 1
    return exponents.astype(np.int32)


def codes_of(bits: U16, exponents: I32) -> U16:
    """Codes [n][H] of rows with steps 2**exponents [n]: the nearest, or that of the largest magnitude."""
    units = _units(values_of(bits), exponents[:, None])
    np.clip(units, np.float32(-32768.0), np.float32(32767.0), out=units)
    units += _ROUNDER
    return units.view(np.uint32).astype(np.uint16)


def screened_steps(codes: U16) -> F32:
    """ê, what the top six bits of codes stand for, in steps S."""
    steps = (codes >> np.uint16(10)).astype(np.float32)
    steps *= np.float32(4.0)
    steps -= np.float32(126.0)
    return steps


def escapes_of(bits: U16, codes: U16, exponents: I32, outliers: I64) -> Escapes:
    """All of coded rows but those in the columns ``outliers``.

    Entries of S / 2 ≤ |e| < 128 S are none: in units of S / 256 they are integers of eight significant bits.
    """
    smallest = _bits_of_power(exponents - 1)
    candidates = np.flatnonzero((bits & _MAGNITUDE) - smallest[:, None] >= 8 << _MANTISSA_BITS)
    rows, columns = np.divmod(candidates, bits.shape[1])
    kept = ~np.isin(columns, outliers)
    rows, columns = rows[kept], columns[kept]
    values, chosen, steps = values_of(bits[rows, columns]), codes[rows, columns], exponents[rows]
    unit = np.ldexp(np.float32(1.0), steps - 8)
    decoded = (chosen.astype(np.float32) - np.float32(32768.0)) * unit
    units = np.rint(_units(values.copy(), steps))
    lost = values.astype(np.float64) - units * unit
    rest = units - np.float32(256.0) * screened_steps(chosen)
    found = decoded.view(np.uint32) != values.view(np.uint32)
    return Escapes(rows[found], columns[found], lost[found], rest[found])


def _units(values: F32, exponents: I32) -> F32:
    """``values``, which are overwritten, in units of S / 256."""
    with np.errstate(over="ignore"):  # outliers
        if (exponents > _SMALLEST_STEP).all():
            values *= np.ldexp(np.float32(1.0), 8 - exponents)
        else:
            values *= np.ldexp(np.float32(1.0), 4 - exponents)
            values *= np.float32(16.0)
    return values


def _clearly_clipped(magnitudes: U16, exponents: Exponents) -> I64:
    """How many entries of each row are at least _CLEARLY_CLIPPED steps 2**exponents."""
    limits = _bits_of_power(exponents + 7) | np.uint16(0x20)  # 160 is 1.01₂ · 2⁷
    return np.asarray(np.count_nonzero(magnitudes >= limits[:, None], axis=1), np.int64)


def _clipped_squares(magnitudes: U16, exponents: Exponents) -> F64:
    """What clipping to 127.5 steps 2**exponents adds to ‖δ‖² of rows, against clipping to twice as many."""
    limits = _bits_of_power(exponents + 6) | np.uint16(0x7F)  # 127.5 is 1.1111111₂ · 2⁶
    rows, columns = np.divmod(np.flatnonzero(magnitudes > limits[:, None]), magnitudes.shape[1])
    scaled = np.ldexp(values_of(magnitudes[rows, columns]).astype(np.float64), -exponents[rows])
    added = np.bincount(rows, weights=_added_square(scaled), minlength=len(magnitudes))
    return np.asarray(added, np.float64)


def _added_square(steps: F64 | float) -> F64:
    """What an entry of at least 127.5 steps adds to ‖δ‖² when clipped there and not at twice as many."""
    return np.asarray(
        (steps - _LARGEST_STEPS) ** 2 - np.maximum(steps - 2 * _LARGEST_STEPS, 0.0) ** 2, np.float64
    )


def _bits_of_power(exponents: Exponents) -> U16:
    """bfloat16 bits of 2**exponents, infinity included."""
    return ((exponents + _EXPONENT_BIAS) << _MANTISSA_BITS).astype(np.uint16)
