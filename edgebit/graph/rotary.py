"""The rotation tables of rotary position embedding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgebit.model import Llama3Scaling

Floats = npt.NDArray[np.float32]
f32 = np.float32

_ROWS = 4096  # in float64 at a time


def rotary_tables(
    head_dim: int,
    positions: int,
    theta: float,
    scaling: Llama3Scaling | None = None,
    divisors: Floats | None = None,
) -> tuple[Floats, Floats]:
    """cos and sin, float32 [positions, head_dim/2], of the angles transformers uses.

    ``divisors`` [head_dim/2] of the frequencies are how GGUF files say what ``scaling`` does. Frequencies and
    angles are rounded to float32 as there: at position 4000 that moves an angle by 1e-4. Power, cosine and
    sine are taken in float64 and rounded once, so that every workstation writes the same bytes.
    """
    exponents = np.arange(0, head_dim, 2, dtype=f32) / f32(head_dim)
    powers = np.power(np.float64(theta), exponents.astype(np.float64)).astype(f32)
    frequencies = f32(1) / powers
    if scaling is not None:
        frequencies = scaled(frequencies, scaling)
    if divisors is not None:
        frequencies = frequencies / divisors
    cos, sin = (np.empty((positions, head_dim // 2), f32) for _ in range(2))
    for begin in range(0, positions, _ROWS):
        rows = slice(begin, min(begin + _ROWS, positions))
        angles = np.arange(rows.start, rows.stop, dtype=f32)[:, None] * frequencies
        wide = angles.astype(np.float64)
        cos[rows], sin[rows] = np.cos(wide), np.sin(wide)
    return cos, sin


def scaled(frequencies: Floats, scaling: Llama3Scaling) -> Floats:
    """Long wavelengths ``factor`` times as long, short ones as they are, a smooth passage between, in float32
    and in the order of transformers.
    """
    original, low, high = scaling.original_positions, scaling.low_freq_factor, scaling.high_freq_factor
    wavelengths = f32(2 * np.pi) / frequencies
    smooth = (f32(original) / wavelengths - f32(low)) / f32(high - low)
    between = (f32(1) - smooth) * frequencies / f32(scaling.factor) + smooth * frequencies
    longer = np.where(wavelengths > f32(original / low), frequencies / f32(scaling.factor), frequencies)
    is_between = ~(wavelengths < f32(original / high)) & ~(wavelengths > f32(original / low))
    result: Floats = np.where(is_between, between, longer).astype(f32)
    return result
