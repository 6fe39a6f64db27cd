"""The exact lm_head in numpy: sections as tables, the query of a hidden state, screening in the kernels'
order.

Written from the layout and the bounds in edgebit/compiler/head_planes.py, without their code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
f32, f64 = np.float32, np.float64


@dataclass(frozen=True)
class Plane:
    """What a screening reads: rows u8 [16 * blocks][bytes], bounds [blocks][5][16]; codes of 6 or 4 bits."""

    rows: Array
    bounds: Array
    bits: int

    def coefficients(self) -> Array:
        """q [rows][64] of all rows, those of padding included."""
        return self.rows[:, :64].astype(np.int64) * 256 + self.rows[:, 64:128] - 32768

    def codes(self) -> Array:
        """Of all columns [rows][width]."""
        lines = self.rows[:, 128:].reshape(len(self.rows), -1, self.bits // 2, 64).astype(np.int64)
        parts = []
        for part in range(4):
            nibble = lines[:, :, part // 2] >> (4 * (part % 2)) & 15
            crumb = lines[:, :, 2] >> (2 * part) & 3 if self.bits == 6 else None
            parts.append(nibble if crumb is None else nibble * 4 + crumb)
        return np.stack(parts, axis=2).reshape(len(self.rows), -1)


@dataclass(frozen=True)
class Sections:
    """Sections as arrays: plane1 [16 * blocks][bytes], plane2 [V][bytes], bounds [blocks][5][16], ..."""

    plane1: Array
    plane2: Array
    bounds: Array
    escape_index: Array
    escapes: Array
    outliers: Array
    components: Array
    sigma: Array

    @property
    def rows(self) -> int:
        return len(self.plane2)

    @property
    def width(self) -> int:
        return len(self.components)

    @property
    def first(self) -> Plane:
        return Plane(self.plane1, self.bounds, 6)

    def row(self, v: int) -> Array:
        """The bfloat16 bits of a row, entry by entry."""
        step = f64(self.bounds[v // 16, 0, v % 16])
        top = self.first.codes()[v]
        bits = np.empty(self.width, np.uint32)
        for column in range(self.width):
            group, part, j = column // 256, column % 256 // 64, column % 64
            middle = int(self.plane2[v, self.width + group * 64 + j]) >> (2 * part) & 3
            code = int(top[column]) << 10 | middle << 8 | int(self.plane2[v, column])
            bits[column] = f32((code - 32768) * step / 256).view(np.uint32)
        for column, value in self.escapes[self.escape_index[v] : self.escape_index[v + 1]]:
            bits[column] = int(value) << 16
        bits[self.outliers[:16]] = self.outliers[16 + 16 * v : 32 + 16 * v].astype(np.uint32) << 16
        return bits


def sections_of(made: Mapping[str, tuple[int, Callable[[], Iterator[bytes]]]], rows: int) -> Sections:
    """The sections a `PlanePacker` makes, each checked for its announced size."""
    data = {}
    for name, (size, chunks) in made.items():
        data[name] = b"".join(chunks())
        assert len(data[name]) == size, name
    return Sections(
        np.frombuffer(data["plane1"], np.uint8).reshape(-(-rows // 16) * 16, -1),
        np.frombuffer(data["plane2"], np.uint8).reshape(rows, -1),
        np.frombuffer(data["bounds"], "<f4").reshape(-1, 5, 16),
        np.frombuffer(data["escape_index"], "<u4"),
        np.frombuffer(data["escapes"], "<u2").reshape(-1, 2),
        np.frombuffer(data["outliers"], "<u2"),
        np.frombuffer(data["components"], "<f4").reshape(-1, 64),
        np.frombuffer(data["sigma"], "<f8"),
    )


def codes_of(made: Mapping[str, tuple[int, Callable[[], Iterator[bytes]]]], rows: int) -> Plane:
    """What an `S4Packer` makes."""
    data = {name: b"".join(chunks()) for name, (_size, chunks) in made.items()}
    assert {name: len(content) for name, content in data.items()} == {name: made[name][0] for name in made}
    codes = np.frombuffer(data["codes"], np.uint8).reshape(-(-rows // 16) * 16, -1)
    return Plane(codes, np.frombuffer(data["code_bounds"], "<f4").reshape(-1, 5, 16), 4)


@dataclass(frozen=True)
class Query:
    """A hidden state as screening reads it: codes int8 [2][width] and [2][64], numbers f64 [8]."""

    state: Array
    coefficients: Array
    numbers: Array


def query(sections: Sections, hidden: Array, rotated: bool = False) -> Query:
    """Of a hidden state [P], P a multiple of 64; finite, not all zero. ``rotated``: for codes of 4 bits."""
    matrix = sections.components.astype(f64)
    h = np.zeros(sections.width)
    h[: hidden.size] = hidden
    g = matrix.T @ h
    w = h - matrix @ g
    t, z, left = _codes(rotation(sections.width) @ w if rotated else h)
    tau, gamma, left_of_g = _codes(g / sections.sigma)
    n = hidden.size / 64 + 6
    gamma_n = n * 2.0**-24 / (1 - n * 2.0**-24)
    kappa = (
        np.linalg.norm(left)
        + sections.sigma.max() * np.linalg.norm(left_of_g)
        + np.linalg.norm(matrix.T @ w)
        + (gamma_n + 1e-9) * np.linalg.norm(h)
    )
    norms = (np.linalg.norm(w) * (1 + 1e-9), np.linalg.norm(tau * gamma) * (1 + 1e-9))
    numbers = np.array([t, z.sum(), tau, gamma.sum(), *norms, kappa * (1 + 1e-6), 0.0])
    return Query(_planes(z), _planes(gamma), numbers)


@cache
def rotation(width: int) -> Array:
    """The matrix of edgebit/compiler/head_rotation.py, written out."""
    hadamard = np.array([[1.0]])
    while len(hadamard) < 256:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    blocks = np.kron(np.eye(width // 256), hadamard / 16)
    deal = np.zeros((width, width))
    for i in range(width):
        deal[i, i % (width // 256) * 256 + i // (width // 256)] = 1.0
    signs = [_sign(i) for i in range(2 * width)]
    return blocks @ np.diag(signs[width:]) @ deal @ blocks @ np.diag(signs[:width])


def _sign(i: int) -> float:
    """The top bit of splitmix64."""
    mask = 2**64 - 1
    x = (i + 1) * 0x9E3779B97F4A7C15 & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return -1.0 if (x ^ x >> 31) >> 63 else 1.0


def _codes(x: Array) -> tuple[float, Array, Array]:
    largest = np.abs(x).max()
    step = largest / 32000 if largest > 0 else 1.0
    z = np.rint(x / step)
    return step, z, x - step * z


def _planes(z: Array) -> Array:
    integers = z.astype(np.int64)
    high = (integers + 128) >> 8
    return np.stack([high, integers - 256 * high]).astype(np.int8)


@dataclass(frozen=True)
class Screened:
    estimates: Array  # f32 [rows]
    uppers: Array
    maxima: Array  # f32 [2 * blocks]
    bounds: Array  # f32 [rows]: how far the logit may be from the estimate


def screen(plane: Plane, query: Query) -> Screened:
    """Every row, those of padding included, in the float order of kernels head_screen."""
    t, zs, tau, gs, z_norm, g_norm, kappa = (f64(x) for x in query.numbers[:7])
    z = query.state[0].astype(np.int64) * 256 + query.state[1]
    gamma = query.coefficients[0].astype(np.int64) * 256 + query.coefficients[1]
    step, unit, n, a, k = (plane.bounds[:, i].reshape(-1).astype(f64) for i in range(5))
    multiple, center = {6: (4.0, 126.0), 4: (2.0, 15.0)}[plane.bits]
    x = multiple * (plane.codes() @ z).astype(f64) - center * zs
    y = ((plane.coefficients() + 32768) @ gamma).astype(f64) - 32768.0 * gs
    with np.errstate(all="ignore"):
        estimates = ((step * t) * x + (unit * tau) * y).astype(f32)
        bounds = (((n * z_norm + a * g_norm) + k * kappa) * (1 + 2.0**-22) + 2.0**-147).astype(f32)
        uppers = (estimates + bounds) + (np.abs(estimates) + bounds) * f32(2.0**-21)
    uppers = np.where(bounds < f32(2.0**40), uppers, f32(np.inf))
    maxima = np.stack([_largest(estimates.reshape(-1, 16)), _largest(uppers.reshape(-1, 16))], axis=1)
    return Screened(estimates, uppers, maxima.reshape(-1), bounds)


def _largest(x: Array) -> Array:
    """Over the last axis, upper half against lower half; of +0 and -0 the second."""
    while x.shape[-1] > 1:
        low, high = np.split(x, 2, axis=-1)
        x = np.where(low > high, low, high)
    return x[..., 0]
