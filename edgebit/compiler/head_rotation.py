"""A fixed orthogonal matrix R that spreads the energy of a vector evenly over its entries.

Signs, Hadamard transforms of blocks of 256, entries dealt out so that each block gets some of every other,
signs, the same transforms again. It depends on the width alone: `eb_rotate` of edgebit/runtime/native is the
same matrix, entry for entry.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK = 256
"""Widths are multiples of it."""

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)

Floats = npt.NDArray[np.float64]


def rotate(columns: Floats) -> Floats:
    """R x of each column x of a matrix [width][n]: vectors side by side, so that sums run along memory."""
    width = len(columns)
    signs = _signs(2 * width)
    x = _hadamard(columns * signs[:width, None])
    dealt = x.reshape(-1, BLOCK, x.shape[1]).swapaxes(0, 1).reshape(x.shape)
    return _hadamard(dealt * signs[width:, None]) / BLOCK


def _hadamard(x: Floats) -> Floats:
    """Of each block, not normalised."""
    shape = x.shape
    half = 1
    while half < BLOCK:
        pairs = x.reshape(-1, 2, half, shape[1])
        x = np.empty_like(pairs)
        np.add(pairs[:, 0], pairs[:, 1], out=x[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=x[:, 1])
        half *= 2
    return x.reshape(shape)


def _signs(count: int) -> Floats:
    """The top bits of splitmix64 as ±1, as `eb_noise_bits` with key 0 gives them."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * _INCREMENT
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.where(x >> np.uint64(63), -1.0, 1.0)
