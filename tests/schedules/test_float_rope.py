"""rope_append: the bits of the numpy model on every tier, however tokens are split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.schedules.kv_cache import KV_TYPES, cache_bytes
from tests.schedules import canonical
from tests.schedules.conftest import HEAD_DIMS
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32
CONTEXT = 128
RUBBISH = 0xFF  # every byte of the cache where nothing was appended: NaNs


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


def run(program: Program, layer: Layer, passes: list[int], kv: str) -> dict[str, Array]:
    """rope_append of all tokens, in passes of so many; the units of a pass in two parts."""
    d, heads, kv_heads, tokens = layer.head_dim, layer.heads, layer.kv_heads, len(layer.qkv)
    stride = layer.qkv.shape[1]
    cos, sin = rope_tables(d)
    rubbish = np.full(cache_bytes(kv, kv_heads, CONTEXT, d), RUBBISH, np.uint8)
    buffers = {"qkv": layer.qkv, "cos": cos, "sin": sin, "keys": rubbish, "values": rubbish}
    calls, position = [], 0
    for n in passes:
        qkv = ("qkv", position * stride * 4)
        for begin, count in ((0, 1), (1, heads + kv_heads - 1)):
            scalars = (count, begin, n, position, stride, heads, kv_heads, CONTEXT)
            calls.append(Call(f"rope_append_{d}_{kv}", (qkv, "cos", "sin", "keys", "values"), scalars))
        position += n
    assert position == tokens
    return program.run(buffers, calls)


def expected(layer: Layer, kv: str) -> dict[str, Array]:
    """Rotated queries, and both caches."""
    d, kv_heads, tokens = layer.head_dim, layer.kv_heads, len(layer.qkv)
    cos, sin = (table[:tokens] for table in rope_tables(d))
    qkv = layer.qkv.copy()
    q = canonical.round_significant(canonical.rope(layer.part(0, layer.heads), cos, sin), 13)
    qkv[:, : layer.q_width] = q.reshape(tokens, -1)
    k = canonical.rope(layer.part(layer.heads, kv_heads), cos, sin)
    v = layer.part(layer.heads + kv_heads, kv_heads)
    blocked = (kv_heads, CONTEXT // 16, 16, d)
    return {"qkv": qkv, "keys": cache(k, kv, blocked), "values": cache(v, kv, (kv_heads, CONTEXT, d))}


def cache(x: Array, kv: str, shape: tuple[int, ...]) -> Array:
    """Bytes of a cache of x [tokens][KV][D] and rubbish; the last two axes of a shape of four are swapped."""
    elements, *scales = [canonical.f32_to_f16(x)] if kv == "f16" else canonical.quantize_cache(x)
    whole = [np.full((CONTEXT, *part.shape[1:]), 0, part.dtype) for part in (elements, *scales)]
    for part, given in zip(whole, (elements, *scales), strict=True):
        part.view(np.uint8)[...] = RUBBISH
        part[: len(x)] = given
    laid_out = whole[0].swapaxes(0, 1).reshape(shape)
    laid_out = laid_out.swapaxes(-1, -2) if len(shape) == 4 else laid_out
    return np.concatenate(
        [
            np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            for part in (laid_out, *(s.T for s in whole[1:]))
        ]
    )


def check(after: dict[str, Array], want: dict[str, Array]) -> None:
    for name, expected_bits in want.items():
        same_bits(after[name], expected_bits)


@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_a_prefill_pass(float_program: Program, head_dim: int, kv: str) -> None:
    block = layer(head_dim, tokens=35)
    check(run(float_program, block, [35], kv), expected(block, kv))


@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize("passes", [[1] * 50, [16, 16, 18], [15, 1, 17, 1, 16], [49, 1], [3, 47]], ids=str)
def test_tokens_have_the_same_bits_however_they_are_split(
    float_program: Program, passes: list[int], kv: str
) -> None:
    block = layer(64, tokens=50, heads=3, kv_heads=1)
    check(run(float_program, block, passes, kv), run(float_program, block, [50], kv))


@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize("factor", [0.0, 1e-40, 1e-20, 1e-4, 50.0, 1e5, 1e10], ids=str)
def test_small_and_large_values(float_program: Program, factor: float, kv: str) -> None:
    """From all zeros over denormal keys to saturated keys."""
    block = layer(32, tokens=20, factor=factor)
    check(run(float_program, block, [20], kv), expected(block, kv))


@pytest.mark.parametrize("kv", KV_TYPES)
def test_a_full_context(float_program: Program, kv: str) -> None:
    block = layer(16, tokens=CONTEXT, heads=4, kv_heads=4)
    check(run(float_program, block, [96, 32], kv), expected(block, kv))
