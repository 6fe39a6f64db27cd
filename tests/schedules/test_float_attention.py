"""rope_append and attention: the bits of the numpy model on every tier, however tokens are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.schedules import canonical
from tests.schedules.conftest import HEAD_DIMS
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32
CONTEXT = 128


@dataclass(frozen=True)
class Layer:
    """Heads of an attention layer, and the qkv rows of some tokens."""

    head_dim: int
    heads: int
    kv_heads: int
    qkv: Array  # [tokens][stride]

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def scale(self) -> float:
        return float(self.head_dim**-0.5)

    def part(self, first_head: int, count: int) -> Array:
        """Columns of consecutive heads of the row [q | k | v], as [tokens][heads][D]."""
        columns = self.qkv[:, first_head * self.head_dim : (first_head + count) * self.head_dim]
        return columns.reshape(len(self.qkv), count, self.head_dim)


def layer(head_dim: int, tokens: int, heads: int = 4, kv_heads: int = 2, factor: float = 1.0) -> Layer:
    rng = np.random.default_rng([head_dim, tokens])
    stride = -(-(heads + 2 * kv_heads) * head_dim // 64) * 64
    qkv = (rng.standard_normal((tokens, stride)) * factor).astype(f32)
    return Layer(head_dim, heads, kv_heads, qkv)


def rope_tables(head_dim: int) -> tuple[Array, Array]:
    frequencies = 10000.0 ** (-np.arange(head_dim // 2) * 2 / head_dim)
    angles = np.outer(np.arange(CONTEXT), frequencies)
    return np.cos(angles).astype(f32), np.sin(angles).astype(f32)


def run(program: Program, layer: Layer, passes: list[int]) -> dict[str, Array]:
    """rope_append and attention of all tokens, in passes of so many; the units of a pass in two parts."""
    d, kv, tokens = layer.head_dim, layer.kv_heads, len(layer.qkv)
    stride, out_stride = layer.qkv.shape[1], -(-layer.q_width // 64) * 64
    cos, sin = rope_tables(d)
    buffers = {
        "qkv": layer.qkv,
        "cos": cos,
        "sin": sin,
        # Rubbish where nothing was appended yet: infinities and NaNs of float16.
        "keys": np.full((kv, CONTEXT // 16, d, 16), 0x7E01, np.uint16),
        "values": np.full((kv, CONTEXT, d), 0xFC00, np.uint16),
        "scratch": np.full(CONTEXT, np.nan, f32),
        "out": np.full((tokens, out_stride), 7, f32),
    }
    calls, position = [], 0
    for n in passes:
        qkv, out = ("qkv", position * stride * 4), ("out", position * out_stride * 4)
        units = layer.heads + kv
        for begin, count in ((0, 1), (1, units - 1)):
            scalars = (count, begin, n, position, stride, layer.heads, kv, CONTEXT)
            calls.append(Call(f"rope_append_{d}", (qkv, "cos", "sin", "keys", "values"), scalars))
        for begin, count in ((0, 1), (1, layer.heads - 1)):
            scalars = (count, begin, n, position, stride, out_stride, layer.heads // kv, CONTEXT)
            calls.append(Call(f"attention_{d}", (qkv, "keys", "values", "scratch", out), scalars))
        position += n
    assert position == tokens
    return program.run(buffers, calls)


def expected(layer: Layer) -> dict[str, Array]:
    """Rotated queries, the appended part of both caches, and the attention of every token."""
    d, kv, tokens = layer.head_dim, layer.kv_heads, len(layer.qkv)
    cos, sin = (table[:tokens] for table in rope_tables(d))
    q = canonical.rope(layer.part(0, layer.heads), cos, sin)
    k = canonical.f32_to_f16(canonical.rope(layer.part(layer.heads, kv), cos, sin))
    v = canonical.f32_to_f16(layer.part(layer.heads + kv, kv))
    out = np.zeros((tokens, layer.heads, d), f32)
    for t in range(tokens):
        for head in range(layer.heads):
            kv_head = head // (layer.heads // kv)
            keys = canonical.f16_to_f32(k[: t + 1, kv_head])
            values = canonical.f16_to_f32(v[: t + 1, kv_head])
            out[t, head] = canonical.attention(q[t, head], keys, values, layer.scale)
    return {"q": q, "k": k, "v": v, "out": out}


def check(after: dict[str, Array], layer: Layer, want: dict[str, Array]) -> None:
    tokens, width = len(layer.qkv), layer.q_width
    keys = after["keys"].transpose(1, 3, 0, 2).reshape(CONTEXT, layer.kv_heads, layer.head_dim)
    same_bits(after["qkv"][:, :width], want["q"].reshape(tokens, width))
    same_bits(after["qkv"][:, width:], layer.qkv[:, width:])
    same_bits(keys[:tokens], want["k"])
    same_bits(after["values"][:, :tokens].transpose(1, 0, 2).copy(), want["v"])
    assert (keys[tokens:] == 0x7E01).all() and (after["values"][:, tokens:] == 0xFC00).all()
    same_bits(after["out"][:, :width], want["out"].reshape(tokens, width))
    assert (after["out"][:, width:] == 7).all()


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_a_prefill_pass(float_program: Program, head_dim: int) -> None:
    block = layer(head_dim, tokens=35)
    check(run(float_program, block, [35]), block, expected(block))


@pytest.mark.parametrize("passes", [[1] * 50, [16, 16, 18], [15, 1, 17, 1, 16], [49, 1], [3, 47]], ids=str)
def test_tokens_have_the_same_bits_however_they_are_split(float_program: Program, passes: list[int]) -> None:
    block = layer(64, tokens=50, heads=3, kv_heads=1)
    whole, split = run(float_program, block, [50]), run(float_program, block, passes)
    for name in ("qkv", "keys", "values", "out"):
        same_bits(split[name], whole[name])


@pytest.mark.parametrize("factor", [0.0, 1e-40, 1e-20, 1e-4, 50.0, 1e5, 1e10], ids=str)
def test_small_and_large_values(float_program: Program, factor: float) -> None:
    """From all zeros over denormal keys to one-hot probabilities and saturated keys."""
    block = layer(32, tokens=20, factor=factor)
    check(run(float_program, block, [20]), block, expected(block))


def test_a_full_context(float_program: Program) -> None:
    block = layer(16, tokens=CONTEXT, heads=4, kv_heads=4)
    check(run(float_program, block, [96, 32]), block, expected(block))


def test_attention_is_close_to_double_precision() -> None:
    """Relative L2 error below 1e-3, nearly all of it from the float16 cache (NUMERICS: 5e-4)."""
    rng = np.random.default_rng(0)
    query, keys, values = (rng.standard_normal(s).astype(f32) for s in [(128,), (500, 128), (500, 128)])
    scores = keys.astype(np.float64) @ query.astype(np.float64) * 128**-0.5
    weights = np.exp(scores - scores.max())
    exact = (weights / weights.sum()) @ values.astype(np.float64)
    keys, values = (canonical.f16_to_f32(canonical.f32_to_f16(x)) for x in (keys, values))
    difference = canonical.attention(query, keys, values, 128**-0.5) - exact
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(exact)
