"""What is told of floats by their bits is what their values say."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgebit.model.float_bits import infinity_bits, magnitude_bits, of_bits, trit_codes, widened

DTYPES = [np.dtype(np.float16), np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)]


def every_float(dtype: np.dtype[Any]) -> Any:
    """All finite ones of 16 bits, a part of those of 32, from the smallest denormal to the largest."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    step = 1 if dtype.itemsize == 2 else 65537
    positive = np.arange(0, infinity_bits(dtype), step, np.int64).astype(unsigned).view(dtype)
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_magnitudes_keep_their_order_and_come_back(dtype: np.dtype[Any]) -> None:
    floats = every_float(dtype)
    bits = magnitude_bits(floats)
    assert np.array_equal(of_bits(bits, dtype), np.abs(floats.astype(np.float32)))
    assert np.array_equal(bits[: len(bits) // 2], np.sort(bits[: len(bits) // 2]))
    assert bits.max() < infinity_bits(dtype)
    damaged = np.array([np.inf, -np.inf, np.nan, -np.nan]).astype(dtype)
    assert (magnitude_bits(damaged) >= infinity_bits(dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_codes_are_signs_of_what_is_large_enough(dtype: np.dtype[Any]) -> None:
    floats = every_float(dtype)
    assert np.array_equal(trit_codes(floats), np.sign(floats.astype(np.float32)) + 1)
    limit = dtype.type(0.25)
    smallest = int(magnitude_bits(np.array([limit], dtype))[0])
    large = np.abs(floats.astype(np.float32)) >= 0.25
    assert np.array_equal(
        trit_codes(floats, smallest), np.where(large, np.sign(floats.astype(np.float32)), 0) + 1
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_widening_is_exact(dtype: np.dtype[Any]) -> None:
    floats = every_float(dtype)
    assert np.array_equal(widened(floats).view(np.uint32), floats.astype(np.float32).view(np.uint32))
