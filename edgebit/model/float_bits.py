"""Stored floats by their bits: trits and magnitudes without converting billions of values to float32.

Without its sign bit, the integer that a float16, bfloat16 or float32 is stored as is ordered as its
magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.unsignedinteger[Any]]
Array = npt.NDArray[Any]


def magnitude_bits(floats: Array) -> Bits:
    """Magnitudes of floats as integers of their size, in the same order; 0 is 0.0."""
    bits = _bits(floats)
    return bits & (_sign(bits) - bits.dtype.type(1))


def infinity_bits(dtype: np.dtype[Any]) -> int:
    """What magnitudes of finite numbers are below."""
    return int(_bits(np.array([np.inf], dtype))[0])


def of_bits(bits: Bits, dtype: np.dtype[Any]) -> npt.NDArray[np.float32]:
    """The magnitudes as float32."""
    return bits.view(dtype).astype(np.float32)


def trit_codes(floats: Array, smallest: int = 1) -> npt.NDArray[np.uint8]:
    """Codes 0, 1, 2 of the signs of floats, 1 for those whose magnitude bits are below ``smallest``."""
    bits = _bits(floats)
    sign = _sign(bits)
    codes = ((bits & (sign - bits.dtype.type(1))) >= smallest).view(np.uint8)
    negative = (bits >= sign + bits.dtype.type(smallest)).view(np.uint8)
    codes += np.uint8(1)
    codes -= negative << np.uint8(1)
    return codes


def widened(floats: Array) -> npt.NDArray[np.float32]:
    """As float32; bfloat16 by a shift, which is faster than its conversion."""
    if floats.dtype != np.dtype("bfloat16"):
        return floats.astype(np.float32)
    bits = _bits(floats).astype(np.uint32)
    bits <<= np.uint32(16)
    return bits.view(np.float32)


def _bits(floats: Array) -> Bits:
    return floats.view(np.dtype(f"<u{floats.dtype.itemsize}"))


def _sign(bits: Bits) -> np.unsignedinteger[Any]:
    return bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
