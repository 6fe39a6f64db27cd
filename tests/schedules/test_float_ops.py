"""The float building blocks: the bits of the numpy model on every tier, and how good `exp` is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.schedules import canonical
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32


def apply(program: Program, name: str, x: Array, result: type) -> Array:
    padded = np.zeros(-(-x.size // 16) * 16, x.dtype)
    padded[: x.size] = x
    buffers = {"x": padded, "y": np.zeros(padded.size, result)}
    return program.run(buffers, [Call(name, ("x", "y"), (padded.size // 16,))])["y"][: x.size]


def ways(program: Program, conversion: str) -> list[str]:
    """The portable conversion, and the CPU's own where the tier has one."""
    return [symbol for symbol in program.symbols if symbol.startswith(conversion)]


def any_finite_floats(count: int) -> Array:
    bits = np.random.default_rng(1).integers(0, 1 << 32, count, dtype=np.uint32)
    values = bits.view(f32)
    return values[np.isfinite(values)]


def halves_and_neighbours() -> Array:
    """Every finite float16, the midpoints between them, and one unit in the last place to either side."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = (halves[:-1] + halves[1:]) / 2
    exact = np.concatenate([halves, middles, [65504 + 16, 1e30]]).astype(f32)
    around = np.concatenate([exact, np.nextafter(exact, f32(np.inf)), np.nextafter(exact, f32(-np.inf))])
    return np.concatenate([around, -around])


def exp_arguments() -> Array:
    rng = np.random.default_rng(2)
    return np.concatenate(
        [
            np.linspace(-87.5, 0, 200_001),
            -rng.random(100_000) * 2,
            -np.exp2(rng.uniform(-149, 7, 20_000)),
            [0.0, -0.0, -1e30, -3e38, -87.0, np.nextafter(f32(-87), f32(-88)), 1.0, 87.0],
        ]
    ).astype(f32)


def test_exp_has_the_bits_of_the_model(float_program: Program) -> None:
    x = exp_arguments()
    same_bits(apply(float_program, "exp", x, f32), canonical.exp(x))


def test_exp_is_within_one_ulp() -> None:
    x = np.linspace(-87, 0, 2_000_001).astype(f32)
    exact = np.exp(x.astype(np.float64))
    error = np.abs(canonical.exp(x) - exact) / np.spacing(exact.astype(f32))
    assert error.max() < 1.0


def test_rounded_exp_has_the_bits_of_the_model(float_program: Program) -> None:
    x = exp_arguments()
    same_bits(apply(float_program, "exp_rounded13", x, f32), canonical.exp_rounded(x, 13))


def test_rounded_exp_has_thirteen_good_bits() -> None:
    """Half a unit of 13 bits from rounding, and less than a tenth of that from the polynomial."""
    x = np.linspace(-44, 0, 2_000_001).astype(f32)
    rounded = canonical.exp_rounded(x, 13)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(rounded - exact) / np.spacing(exact.astype(f32))).max() < 2**11 * (0.5 + 0.05)
    same_bits(canonical.round_significant(rounded, 13), rounded)
    assert rounded[-1] == 1 and not canonical.exp_rounded(np.array([-44.01, -1e30], f32), 13).any()


@pytest.mark.parametrize("bits", [13, 16])
def test_rounding_to_significant_bits(float_program: Program, bits: int) -> None:
    ties = np.arange(1 << 16, dtype=np.uint32) << np.uint32(23 - bits) | np.uint32(0x3F800000)
    small = f32(2.0**-64) * np.array([1, 0.999, 0.5, -1, -0.999, 2.0**-80], f32)
    x = np.concatenate([any_finite_floats(50_000), ties.view(f32), small, [f32(0), f32(-0.0)]]).astype(f32)
    same_bits(apply(float_program, f"round{bits}", x, f32), canonical.round_significant(x, bits))


def test_float16_from_float32_rounds_to_even_and_saturates(float_program: Program) -> None:
    x = np.concatenate([halves_and_neighbours(), any_finite_floats(50_000)])
    for way in ways(float_program, "f32_to_f16"):
        same_bits(apply(float_program, way, x, np.uint16), canonical.f32_to_f16(x))


def test_float32_from_float16_is_exact(float_program: Program) -> None:
    positive = np.arange(0x7C00, dtype=np.uint16)
    x = np.concatenate([positive, positive | np.uint16(0x8000)])
    for way in ways(float_program, "f16_to_f32"):
        same_bits(apply(float_program, way, x, f32), canonical.f16_to_f32(x))


def test_float32_from_bfloat16_is_exact(float_program: Program) -> None:
    x = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    same_bits(apply(float_program, "bf16_to_f32", x, f32), canonical.bf16_to_f32(x))


def test_every_nan_becomes_the_same_nan(float_program: Program) -> None:
    bits = np.array(
        [0x7F800001, 0xFFC00000, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, 0xFF800000, 0x3F800000], np.uint32
    )
    expected = np.array([0x7FC00000] * 4 + [0x7F800000, 0xFF800000, 0x3F800000], np.uint32)
    same_bits(apply(float_program, "canonical_nan", bits.view(f32), f32).view(np.uint32), expected)
