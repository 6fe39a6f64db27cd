"""What screened forms of an embedding share: coefficients at 16 bits, norms rounded up, their sections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgebit.compiler.head_codes import F32
from edgebit.compiler.head_components import COMPONENTS, Floats
from edgebit.compiler.weights import ROWS, Array, Chunks

GROUP = 256
"""Columns of a group of lines; the plane width is a multiple."""

BOUNDS = 5
"""S, sa, N, A, K of a row."""

LOST = 1e-9
"""More than float64 loses in any of the sums, relative to their terms."""

_LARGEST_COEFFICIENT = 32500
_BOUND_BITS = 12

I16 = npt.NDArray[np.int16]
U8 = npt.NDArray[np.uint8]


def quantise(scaled: Floats) -> tuple[F32, I16]:
    """sa [n] and q [n][64] with scaled ≈ sa q, |q| ≤ 32500."""
    largest = np.abs(scaled).max(axis=1) / _LARGEST_COEFFICIENT
    unit = np.minimum(largest, float(np.finfo(np.float32).max)).astype(np.float32)
    divisor = np.where(unit > 0.0, unit, np.float32(1.0)).astype(np.float64)
    q = np.rint(scaled / divisor[:, None])
    return unit, np.clip(q, -_LARGEST_COEFFICIENT, _LARGEST_COEFFICIENT).astype(np.int16)


def coefficient_bytes(q: I16) -> U8:
    """High bytes, then low bytes of q + 32768: [n][128]."""
    shifted = q.astype(np.int32) + 32768
    return np.concatenate([shifted >> 8, shifted & 255], axis=1).astype(np.uint8)


def bounds_section(bounds: F32) -> tuple[int, Chunks]:
    """[V][5] as [V/16][5][16]: those of 16 rows side by side. V is a multiple of 16."""
    return whole(bounds.reshape(-1, ROWS, BOUNDS).transpose(0, 2, 1).astype("<f4"))


def squares(x: npt.NDArray[np.floating]) -> Floats:
    """Squared norms of rows."""
    return np.asarray(np.einsum("ij,ij->i", x, x))


def round_up(x: Floats) -> F32:
    """To float32 with _BOUND_BITS significant bits, never below x; infinite beyond float32."""
    with np.errstate(over="ignore"):
        nearest = x.astype(np.float32)
    above = np.where(nearest < x, np.nextafter(nearest, np.float32(np.inf)), nearest)
    dropped = np.uint32((1 << (24 - _BOUND_BITS)) - 1)
    return ((above.view(np.uint32) + dropped) & ~dropped).view(np.float32)


def whole(array: Array) -> tuple[int, Chunks]:
    data = np.ascontiguousarray(array).tobytes()
    return len(data), lambda: iter([data])


ROW_COEFFICIENTS = 2 * COMPONENTS
"""Bytes of a row before its codes."""
