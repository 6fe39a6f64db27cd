"""rope_append: the bits of the numpy model on every tier, however tokens are split."""

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
    """rope_append of all tokens, in passes of so many; the units of a pass in two parts."""
    d, kv, tokens = layer.head_dim, layer.kv_heads, len(layer.qkv)
    stride = layer.qkv.shape[1]
    cos, sin = rope_tables(d)
    buffers = {
        "qkv": layer.qkv,
        "cos": cos,
        "sin": sin,
        # Rubbish where nothing was appended yet: infinities and NaNs of float16.
        "keys": np.full((kv, CONTEXT // 16, d, 16), 0x7E01, np.uint16),
        "values": np.full((kv, CONTEXT, d), 0xFC00, np.uint16),
    }
    calls, position = [], 0
    for n in passes:
        qkv = ("qkv", position * stride * 4)
        units = layer.heads + kv
        for begin, count in ((0, 1), (1, units - 1)):
            scalars = (count, begin, n, position, stride, layer.heads, kv, CONTEXT)
            calls.append(Call(f"rope_append_{d}", (qkv, "cos", "sin", "keys", "values"), scalars))
        position += n
    assert position == tokens
    return program.run(buffers, calls)


def expected(layer: Layer) -> dict[str, Array]:
    """Rotated queries and the appended part of both caches."""
    kv, tokens = layer.kv_heads, len(layer.qkv)
    cos, sin = (table[:tokens] for table in rope_tables(layer.head_dim))
    q = canonical.round_significant(canonical.rope(layer.part(0, layer.heads), cos, sin), 13)
    k = canonical.f32_to_f16(canonical.rope(layer.part(layer.heads, kv), cos, sin))
    return {"q": q, "k": k, "v": canonical.f32_to_f16(layer.part(layer.heads + kv, kv))}


def check(after: dict[str, Array], layer: Layer, want: dict[str, Array]) -> None:
    tokens, width = len(layer.qkv), layer.q_width
    keys = after["keys"].transpose(1, 3, 0, 2).reshape(CONTEXT, layer.kv_heads, layer.head_dim)
    same_bits(after["qkv"][:, :width], want["q"].reshape(tokens, width))
    same_bits(after["qkv"][:, width:], layer.qkv[:, width:])
    same_bits(keys[:tokens], want["k"])
    same_bits(after["values"][:, :tokens].transpose(1, 0, 2).copy(), want["v"])
    assert (keys[tokens:] == 0x7E01).all() and (after["values"][:, tokens:] == 0xFC00).all()


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_a_prefill_pass(float_program: Program, head_dim: int) -> None:
    block = layer(head_dim, tokens=35)
    check(run(float_program, block, [35]), block, expected(block))


@pytest.mark.parametrize("passes", [[1] * 50, [16, 16, 18], [15, 1, 17, 1, 16], [49, 1], [3, 47]], ids=str)
def test_tokens_have_the_same_bits_however_they_are_split(float_program: Program, passes: list[int]) -> None:
    block = layer(64, tokens=50, heads=3, kv_heads=1)
    whole, split = run(float_program, block, [50]), run(float_program, block, passes)
    for name in ("qkv", "keys", "values"):
        same_bits(split[name], whole[name])


@pytest.mark.parametrize("factor", [0.0, 1e-40, 1e-20, 1e-4, 50.0, 1e5, 1e10], ids=str)
def test_small_and_large_values(float_program: Program, factor: float) -> None:
    """From all zeros over denormal keys to saturated keys."""
    block = layer(32, tokens=20, factor=factor)
    check(run(float_program, block, [20]), block, expected(block))


def test_a_full_context(float_program: Program) -> None:
    block = layer(16, tokens=CONTEXT, heads=4, kv_heads=4)
    check(run(float_program, block, [96, 32]), block, expected(block))
