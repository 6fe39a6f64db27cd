"""The rotation tables of rotary position embedding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def rotary_tables(head_dim: int, positions: int, theta: float) -> tuple[Floats, Floats]:
    """cos and sin, float32 [positions, head_dim/2], of the angles transformers uses.

    Frequencies and angles are rounded to float32 as there: at position 4000 that moves an angle by 1e-4.
    Power, cosine and sine are taken in float64 and rounded once, so that every workstation writes the same
    bytes.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers = np.power(np.float64(theta), exponents.astype(np.float64)).astype(np.float32)
    frequencies = np.float32(1) / powers
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)
