"""Embedding, norms, quantiser and lm_head: the bits of the numpy model on every tier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.schedules import canonical
from tests.schedules.conftest import EPS
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32

# (unpadded width, tokens): one block, a padded last block, the widths of BitNet 2B-4T
SHAPES = [(64, 1), (40, 3), (200, 2), (2560, 2), (6912, 1)]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(f32)


def ties(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Half-integers whose largest is 127: with scale 1, every other code is a tie."""
    x = (rng.integers(-254, 255, shape) / 2).astype(f32)
    x[..., 0] = 127
    return x


def mixed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-20, 21, shape))).astype(f32)


ROWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": normal,
    "ties": ties,
    "mixed magnitudes": mixed,
    "huge": lambda rng, shape: normal(rng, shape) * f32(2.0**60),
    "squares overflow": lambda rng, shape: normal(rng, shape) * f32(2.0**66),
    "squares are denormal": lambda rng, shape: normal(rng, shape) * f32(2.0**-70),
    "denormal": lambda rng, shape: rng.integers(0, 1 << 23, shape, dtype=np.uint32).view(f32),
    "zero": lambda rng, shape: np.zeros(shape, f32),
}


def padded(x: Array) -> Array:
    width = -(-x.shape[-1] // 64) * 64
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


def rows(kind: str, width: int, tokens: int) -> tuple[Array, Array]:
    """Padded rows of a kind, and a padded norm weight."""
    rng = np.random.default_rng([width, tokens])
    return padded(ROWS[kind](rng, (tokens, width))), padded(normal(rng, (width,)))


def quantized_buffers(x: Array) -> dict[str, Array]:
    tokens = x.shape[0]
    return {
        "q": np.full(x.shape, 99, np.int8),
        "sum": np.full(tokens, 99, np.int32),
        "scale": np.full(tokens, np.nan, f32),
    }


def bf16_table(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights around 1, with rows of denormals, of huge values and of zeros."""
    table = (rng.standard_normal(shape).astype(f32).view(np.uint32) >> 16).astype(np.uint16)
    special = [rng.integers(0, 1 << 7, shape[1]), rng.integers(0x5000, 0x5100, shape[1]), np.zeros(shape[1])]
    for row, values in enumerate(special[: shape[0] - 1]):
        table[row] = values
    return table


@pytest.mark.parametrize("kind", ROWS)
def test_rmsnorm_quantize(float_program: Program, kind: str) -> None:
    for width, tokens in SHAPES:
        x, weight = rows(kind, width, tokens)
        buffers = {"x": x, "weight": weight, **quantized_buffers(x), "scratch": np.zeros(x.shape[1], f32)}
        call = Call("rmsnorm_quantize", tuple(buffers), (tokens, x.shape[1] // 64, width))
        after = float_program.run(buffers, [call])
        with np.errstate(all="ignore"):
            q, total, scale = canonical.quantize(canonical.rmsnorm(x, weight, width, EPS))
        same_bits(after["q"], q)
        same_bits(after["sum"], total)
        same_bits(after["scale"], scale)
        assert not after["q"][:, width:].any(), "padding columns hold a code other than 0"


@pytest.mark.parametrize("kind", ROWS)
def test_quantize(float_program: Program, kind: str) -> None:
    for width, tokens in SHAPES:
        x, _ = rows(kind, width, tokens)
        buffers = {"x": x, **quantized_buffers(x)}
        after = float_program.run(buffers, [Call("quantize", tuple(buffers), (tokens, x.shape[1] // 64))])
        q, total, scale = canonical.quantize(x)
        same_bits(after["q"], q)
        same_bits(after["sum"], total)
        same_bits(after["scale"], scale)


@pytest.mark.parametrize("kind", ROWS)
def test_rmsnorm(float_program: Program, kind: str) -> None:
    for width, tokens in SHAPES:
        x, weight = rows(kind, width, tokens)
        buffers = {"x": x, "weight": weight, "out": np.full(x.shape, np.nan, f32)}
        after = float_program.run(
            buffers, [Call("rmsnorm", tuple(buffers), (tokens, x.shape[1] // 64, width))]
        )
        with np.errstate(all="ignore"):
            expected = canonical.round_significant(canonical.rmsnorm(x, weight, width, EPS), 16)
        same_bits(after["out"], expected)


@pytest.mark.parametrize("kind", ROWS)
def test_pooling(float_program: Program, kind: str) -> None:
    """The last state, the sum of states in their order, and what each is as a vector of length 1."""
    for width, tokens in SHAPES:
        x, weight = rows(kind, width, tokens)
        sizes = (x.shape[1] // 64, width)
        buffers = {
            "x": x,
            "weight": weight,
            "last": np.full(x.shape[1], 99, f32),
            **{name: np.zeros(x.shape[1], f32) for name in ("sum", "of_last", "of_mean")},
        }
        calls = [
            Call("pool_last", ("x", "weight", "last"), (tokens, *sizes)),
            *(
                Call("pool_mean", (("x", row * x[0].nbytes), "weight", "sum"), (1, *sizes))
                for row in range(tokens)
            ),
            Call("normalize", ("last", "of_last"), (sizes[0], 1)),
            Call("normalize", ("sum", "of_mean"), (sizes[0], tokens)),
        ]
        after = float_program.run(buffers, calls)
        with np.errstate(all="ignore"):
            normed = canonical.rmsnorm(x, weight, width, EPS)
            total = np.zeros(x.shape[1], f32)
            for row in normed:
                total = total + row
            same_bits(after["last"], normed[-1])
            same_bits(after["sum"], total)
            same_bits(after["of_last"], canonical.normalize(normed[-1], 1))
            same_bits(after["of_mean"], canonical.normalize(total, tokens))


def test_pooling_takes_rows_together_as_one_by_one(float_program: Program) -> None:
    x, weight = rows("mixed magnitudes", 200, 5)
    buffers = {"x": x, "weight": weight, "together": np.zeros(256, f32), "single": np.zeros(256, f32)}
    calls = [Call("pool_mean", ("x", "weight", "together"), (5, 4, 200))]
    calls += [
        Call("pool_mean", (("x", row * x[0].nbytes), "weight", "single"), (1, 4, 200)) for row in range(5)
    ]
    after = float_program.run(buffers, calls)
    assert after["together"].any()
    same_bits(after["together"], after["single"])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_lm_head(float_program: Program, count: int) -> None:
    rng = np.random.default_rng(count)
    for width in (64, 320, 2560):
        table = bf16_table(rng, (count, width))
        h = canonical.round_significant(mixed(rng, (width,)), 16)
        buffers = {"table": table, "h": h, "logits": np.full(count, 99, f32)}
        after = float_program.run(buffers, [Call("lm_head", tuple(buffers), (count, width // 64))])
        same_bits(after["logits"], canonical.lm_head(table, h))


def test_lm_head_products_are_exact_down_to_the_smallest(float_program: Program) -> None:
    """Where a plain float32 product would be denormal and inexact, a fused multiply-add would show."""
    rng = np.random.default_rng(5)
    table = rng.integers(0, 1 << 8, (64, 128)).astype(np.uint16)
    h = canonical.round_significant(normal(rng, (128,)) * f32(2.0**-60), 16)
    buffers: dict[str, Array] = {"table": table, "h": h, "logits": np.zeros(64, f32)}
    after = float_program.run(buffers, [Call("lm_head", tuple(buffers), (64, 2))])
    same_bits(after["logits"], canonical.lm_head(table, h))


def test_lm_head_gives_one_nan(float_program: Program) -> None:
    table = np.full((3, 64), 0x3F80, np.uint16)
    table[1] = 0xFFC1
    table[2, :2] = [0x7F80, 0xFF80]
    buffers: dict[str, Array] = {"table": table, "h": np.ones(64, f32), "logits": np.zeros(3, f32)}
    after = float_program.run(buffers, [Call("lm_head", tuple(buffers), (3, 1))])
    same_bits(after["logits"].view(np.uint32), np.array([0x42800000, 0x7FC00000, 0x7FC00000], np.uint32))


def test_embedding(float_program: Program) -> None:
    rng = np.random.default_rng(6)
    table = rng.integers(0, 1 << 16, (50, 128)).astype(np.uint16)
    tokens = np.array([49, 0, 7, 7, 31], np.int32)
    buffers: dict[str, Array] = {"tokens": tokens, "table": table, "out": np.zeros((5, 128), f32)}
    after = float_program.run(buffers, [Call("embedding", tuple(buffers), (5, 8))])
    same_bits(after["out"], canonical.bf16_to_f32(table[tokens]))


def test_units_may_be_split_over_threads(float_program: Program) -> None:
    """The runtime advances the pointers of a thread to its first unit: any unit may be the first."""
    rng = np.random.default_rng(7)
    table = rng.integers(0, 1 << 16, (5, 128)).astype(np.uint16)
    given: dict[str, Array] = {
        "tokens": np.array([4, 0, 3, 3, 1], np.int32),
        "table": table,
        "x": normal(rng, (5, 128)),
        "weight": normal(rng, (128,)),
        "h": canonical.round_significant(normal(rng, (128,)), 16),
    }
    made = {
        "embedded": np.zeros((5, 128), f32),
        **quantized_buffers(given["x"]),
        "logits": np.zeros(5, f32),
        "scratch": np.zeros(128, f32),
    }

    def calls(begin: int, count: int) -> list[Call]:
        def unit(name: str) -> tuple[str, int]:
            return name, begin * (given | made)[name][0].nbytes

        quantized = (unit("q"), unit("sum"), unit("scale"), "scratch")
        return [
            Call("embedding", (unit("tokens"), "table", unit("embedded")), (count, 8)),
            Call("rmsnorm_quantize", (unit("x"), "weight", *quantized), (count, 2, 128)),
            Call("lm_head", (unit("table"), "h", unit("logits")), (count, 2)),
        ]

    whole = float_program.run(given | made, calls(0, 5))
    split = float_program.run(given | made, calls(0, 1) + calls(1, 3) + calls(4, 1))
    for name in made:
        same_bits(split[name], whole[name])
    assert not np.array_equal(whole["logits"], made["logits"])


def test_rmsnorm_is_within_three_ulp_of_double_precision() -> None:
    x, weight = rows("normal", 2560, 2)
    exact = x.astype(np.float64)
    exact = exact / np.sqrt((exact**2).mean(axis=-1, keepdims=True) + EPS) * weight
    error = np.abs(canonical.rmsnorm(x, weight, 2560, EPS) - exact) / np.spacing(np.abs(exact).astype(f32))
    assert error.max() < 3
