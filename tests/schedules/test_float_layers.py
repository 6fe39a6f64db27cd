"""Norms between projections and elementwise steps over rows: the bits of the numpy model on every tier."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgebit.schedules.epilogue import ACTIVATIONS
from tests.schedules import canonical
from tests.schedules.conftest import EPS, FACTOR, NORMED_HEAD_DIMS, SPREAD
from tests.schedules.harness import Call, Program, same_bits
from tests.schedules.test_float_rows import ROWS, SHAPES, mixed, normal, rows

Array = npt.NDArray[Any]
f32 = np.float32

TOKENS, STRIDE = 3, 192
SPLITS = ((0, 5), (5, 7))  # units of 16 columns, given to two threads


def calls(kernel: str, buffers: list[str], strides: list[int]) -> list[Call]:
    """The step over all columns, by two threads; ``strides``: bytes of a unit in each buffer."""
    return [
        Call(
            kernel,
            tuple((name, begin * stride) for name, stride in zip(buffers, strides, strict=True)),
            (count, TOKENS, STRIDE),
        )
        for begin, count in SPLITS
    ]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_norm_of_rows(float_program: Program, kind: str, residual: bool) -> None:
    for width, tokens in SHAPES:
        x, weight = rows(kind, width, tokens)
        before = normal(np.random.default_rng(1), x.shape)
        kernel = "rmsnorm_residual" if residual else "rmsnorm_rows"
        buffers = {"x": x, "weight": weight, "out": before}
        after = float_program.run(buffers, [Call(kernel, tuple(buffers), (tokens, x.shape[1] // 64, width))])
        with np.errstate(all="ignore"):
            normed = canonical.rmsnorm(x, weight, width, EPS)
            same_bits(after["out"], before + normed if residual else normed)


@pytest.mark.parametrize("head_dim", NORMED_HEAD_DIMS)
def test_norm_of_heads(float_program: Program, head_dim: int) -> None:
    """Of query and key heads; values behind them stay as they are."""
    rng = np.random.default_rng(head_dim)
    heads, kv_heads, tokens = 3, 2, 2
    qkv = mixed(rng, (tokens, heads + 2 * kv_heads, head_dim))
    qkv = np.concatenate([qkv.reshape(tokens, -1), np.full((tokens, 64), 7, f32)], axis=1)
    query, key = normal(rng, (head_dim,)), normal(rng, (head_dim,))
    buffers = {"qkv": qkv, "query": query, "key": key}
    split = [
        Call(f"head_norm_{head_dim}", tuple(buffers), (count, begin, tokens, qkv.shape[1], heads))
        for count, begin in ((1, 0), (3, 1), (1, 4))
    ]
    expected = qkv.copy()
    parts = expected[:, : (heads + kv_heads) * head_dim].reshape(tokens, -1, head_dim)
    parts[:, :heads] = canonical.head_norm(parts[:, :heads], query, EPS)
    parts[:, heads:] = canonical.head_norm(parts[:, heads:], key, EPS)
    expected[:, : (heads + kv_heads) * head_dim] = parts.reshape(tokens, -1)
    same_bits(float_program.run(buffers, split)["qkv"], expected)


@pytest.mark.parametrize(("head_dim", "padded"), SPREAD)
def test_heads_are_spread_and_joined(float_program: Program, head_dim: int, padded: int) -> None:
    """With zeros behind each half, and behind the last head where rows are wider."""
    rng = np.random.default_rng(head_dim)
    heads, tokens, half = 5, 2, head_dim // 2
    x = normal(rng, (tokens, heads, 2, half))
    flat = np.pad(x.reshape(tokens, -1), ((0, 0), (0, 64)), constant_values=7)
    wide = np.pad(x, ((0, 0), (0, 0), (0, 0), (0, padded // 2 - half))).reshape(tokens, -1)
    buffers = {
        "x": flat,
        "wide": np.full_like(wide, np.nan),
        "out": np.full((tokens, heads * head_dim + 4), np.nan, f32),
    }
    spread = [
        Call(f"spread_heads_{head_dim}", ("x", "wide"), (count, begin, tokens, flat.shape[1], wide.shape[1]))
        for count, begin in ((2, 0), (3, 2))
    ]
    strides = (tokens, wide.shape[1], buffers["out"].shape[1], heads)
    join = [
        Call(f"join_heads_{head_dim}", ("wide", "out"), (count, begin, *strides))
        for count, begin in ((2, 0), (3, 2))
    ]
    after = float_program.run(buffers, [*spread, *join])
    same_bits(after["wide"], wide)
    same_bits(after["out"], np.pad(x.reshape(tokens, -1), ((0, 0), (0, 4))))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gates(float_program: Program, activation: str) -> None:
    rng = np.random.default_rng(2)
    gate, up = mixed(rng, (TOKENS, STRIDE)), normal(rng, (TOKENS, STRIDE))
    gate[0, :6] = [0, -0.0, 1e13, -1e13, 2e38, -2e38]
    gate[1] = np.linspace(-12, 12, STRIDE, dtype=f32)
    with np.errstate(all="ignore"):
        expected = getattr(canonical, activation)(gate) * up
    finite = np.isfinite(expected)
    after = float_program.run(
        {"gate": gate, "up": up}, calls(f"gated_{activation}", ["gate", "up"], [64, 64])
    )
    same_bits(after["gate"][finite], expected[finite])
    assert finite.mean() > 0.98


def test_bias_sum_and_factor(float_program: Program) -> None:
    rng = np.random.default_rng(3)
    x, y = mixed(rng, (TOKENS, STRIDE)), mixed(rng, (TOKENS, STRIDE))
    bias = mixed(rng, (STRIDE,))
    for kernel, other, expected in (
        ("add_bias", bias, x + bias),
        ("add_rows", y, x + y),
        ("scale_rows", None, x * f32(FACTOR)),
    ):
        names = ["x"] if other is None else ["x", "other"]
        buffers = {"x": x} if other is None else {"x": x, "other": other}
        after = float_program.run(buffers, calls(kernel, names, [64] * len(names)))
        same_bits(after["x"], expected)


def test_gelu_is_that_of_torch() -> None:
    x = np.linspace(-20, 20, 4001, dtype=f32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double(), approximate="tanh").numpy()
    assert np.abs(canonical.gelu_tanh(x) - expected).max() < 2e-6
