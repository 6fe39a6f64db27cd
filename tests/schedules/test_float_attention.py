"""Attention: the bits of the numpy model on every tier, from decode and prefill, at the edges of chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.schedules.attention_prefill import QUERY_TILE, prefill_scratch
from edgebit.schedules.kv_cache import KV_TYPES
from tests.schedules import canonical
from tests.schedules.conftest import ATTENTION_SHAPES, INT8_SHAPES, WINDOWED
from tests.schedules.harness import Call, Program, same_bits

Array = npt.NDArray[Any]
f32 = np.float32

CONTEXT = 272  # two chunks and a block
EDGES = (0, 1, 15, 16, 17, 127, 128, 129, 255, 256, 271)
RUBBISH = 0xFF  # every byte of keys, values and scales that no token may see: NaNs


@dataclass(frozen=True)
class Layer:
    """An attention layer after rope_append: queries of some tokens, keys and values of the context.

    queries [tokens][H][D] with 13 significant bits; keys and values float32 [KV][context][D] that float16
    can hold, or int8 codes with scales [KV][context].
    """

    queries: Array
    keys: Array
    values: Array
    scales: tuple[Array, Array] | None = None
    window: int = 0

    @property
    def head_dim(self) -> int:
        return int(self.queries.shape[2])

    @property
    def kv_heads(self) -> int:
        return int(self.keys.shape[0])

    @property
    def group(self) -> int:
        return int(self.queries.shape[1]) // self.kv_heads

    @property
    def context(self) -> int:
        return int(self.keys.shape[1])

    @property
    def symbol(self) -> str:
        window = f"_{self.window}" if self.window else ""
        return f"{self.head_dim}_{self.group}_{'f16' if self.scales is None else 'int8'}{window}"

    def rows(self) -> Array:
        """qkv rows: queries, then columns that attention has no business with."""
        flat = self.queries.reshape(len(self.queries), -1)
        return np.pad(flat, [(0, 0), (0, 64 + -flat.shape[1] % 64)], constant_values=np.nan)

    def cache(self, visible: int) -> dict[str, Array]:
        """The bytes of keys and values after `visible` tokens, rubbish behind them."""
        parts = []
        for x in (self.keys, self.values):
            elements = x.copy() if self.scales else canonical.f32_to_f16(x)
            elements[:, visible:].view(np.uint8)[...] = RUBBISH
            parts.append(elements)
        parts[0] = parts[0].reshape(self.kv_heads, -1, 16, self.head_dim).swapaxes(2, 3).copy()
        flat = [part.reshape(-1).view(np.uint8) for part in parts]
        for i, scales in enumerate(self.scales or ()):
            scales = scales.copy()
            scales[:, visible:].view(np.uint8)[...] = RUBBISH
            flat[i] = np.concatenate([flat[i], scales.reshape(-1).view(np.uint8)])
        return {"keys": flat[0], "values": flat[1]}

    def expected(self, position: int) -> Array:
        """Model of the tokens from `position` on: [tokens][H · D]."""
        tokens = len(self.queries)
        last = np.repeat(np.arange(position, position + tokens), self.group)
        out = np.empty_like(self.queries)
        for head in range(self.kv_heads):
            heads = slice(head * self.group, (head + 1) * self.group)
            rows = self.queries[:, heads].reshape(-1, self.head_dim)
            scales = [part[head] for part in self.scales or ()]
            keys, values = self.keys[head].astype(f32), self.values[head].astype(f32)
            result = canonical.attention(
                rows, keys, values, last, self.head_dim**-0.5, *scales, window=self.window
            )
            out[:, heads] = result.reshape(tokens, self.group, self.head_dim)
        return out.reshape(tokens, -1)


def layer(
    shape: tuple[int, int],
    tokens: int,
    kv_heads: int = 2,
    context: int = CONTEXT,
    factor: float = 1.0,
    kv: str = "f16",
) -> Layer:
    rng = np.random.default_rng([*shape, tokens])
    head_dim, group = shape
    queries = rng.standard_normal((tokens, kv_heads * group, head_dim)) * factor
    queries = canonical.round_significant(queries.astype(f32), 13)
    keys, values = (rng.standard_normal((2, kv_heads, context, head_dim)) * factor).astype(f32)
    if kv == "f16":
        keys, values = (canonical.f16_to_f32(canonical.f32_to_f16(x)) for x in (keys, values))
        return Layer(queries, keys, values)
    (keys, key_scales), (values, value_scales) = (canonical.quantize_cache(x) for x in (keys, values))
    return Layer(queries, keys, values, (key_scales, value_scales))


def parts(units: int) -> list[tuple[int, int]]:
    """Count and begin of the units, in two uneven parts."""
    return [(1, 0), (units - 1, 1)] if units > 1 else [(1, 0)]


def decode(program: Program, layer: Layer, position: int, token: int = 0) -> Array:
    """attention_decode and attention_merge of one token at `position`: [H · D]."""
    chunks, heads = -(-layer.context // 128), layer.kv_heads * layer.group
    buffers = {
        "qkv": layer.rows()[token],
        **layer.cache(position + 1),
        "scratch": np.full((layer.group, 128), np.nan, f32),
        "partial": np.full((chunks, heads, layer.head_dim), np.nan, f32),
        "statistics": np.full((chunks, heads, 2), np.nan, f32),
        "out": np.full(heads * layer.head_dim, np.nan, f32),
    }
    calls = [
        Call(
            f"attention_decode_{layer.symbol}",
            ("qkv", "keys", "values", "scratch", "partial", "statistics"),
            (count, begin, position, layer.kv_heads, layer.context),
        )
        for count, begin in parts((position // 128 + 1) * layer.kv_heads)
    ]
    merge = Call(
        f"attention_merge_{layer.head_dim}", ("partial", "statistics", "out"), (heads, position, heads)
    )
    return program.run(buffers, [*calls, merge])["out"]


def prefill(program: Program, layer: Layer, position: int) -> Array:
    """attention_prefill of all tokens of the layer, the first at `position`: [tokens][H · D]."""
    tokens, width = len(layer.queries), layer.queries[0].size
    qkv, out = layer.rows(), np.full((tokens, width + 64), 7, f32)
    buffers = {
        "qkv": qkv,
        **layer.cache(position + tokens),
        "scratch": np.full(prefill_scratch(layer.head_dim, layer.group) // 4, np.nan, f32),
        "out": out,
    }
    sizes = (tokens, position, qkv.shape[1], out.shape[1], layer.kv_heads, layer.context)
    calls = [
        Call(f"attention_prefill_{layer.symbol}", tuple(buffers), (count, begin, *sizes))
        for count, begin in parts(-(-tokens // QUERY_TILE) * layer.kv_heads)
    ]
    after = program.run(buffers, calls)["out"]
    assert (after[:, width:] == 7).all()
    return after[:, :width].copy()


def require(program: Program, layer: Layer) -> None:
    """Skips the test where the program of a tier has no kernels of the layer's shape."""
    if f"attention_decode_{layer.symbol}" not in program.symbols:
        pytest.skip(f"shape {layer.symbol} is tested on tiers with vector registers")


CASES = [(shape, "f16") for shape in ATTENTION_SHAPES] + [(shape, "int8") for shape in INT8_SHAPES]


@pytest.mark.parametrize(("shape", "kv"), CASES, ids=str)
def test_decode_at_the_edges_of_blocks_and_chunks(
    attention_program: Program, shape: tuple[int, int], kv: str
) -> None:
    one = layer(shape, tokens=1, kv=kv)
    require(attention_program, one)
    for position in EDGES:
        same_bits(decode(attention_program, one, position), one.expected(position)[0])


@pytest.mark.parametrize(("shape", "kv"), CASES, ids=str)
def test_prefill_at_the_edges_of_tiles_and_chunks(
    attention_program: Program, shape: tuple[int, int], kv: str
) -> None:
    for position, tokens in ((0, 1), (0, 8), (5, 10), (120, 8), (121, 17), (127, 2), (250, 7), (255, 17)):
        block = layer(shape, tokens, kv=kv)
        require(attention_program, block)
        same_bits(prefill(attention_program, block, position), block.expected(position))


def test_a_whole_context_at_once_and_token_by_token(attention_program: Program) -> None:
    block = layer((32, 2), tokens=CONTEXT)
    whole = prefill(attention_program, block, 0)
    same_bits(whole, block.expected(0))
    for position in EDGES:
        same_bits(decode(attention_program, block, position, token=position), whole[position])


def test_more_chunks_than_are_merged_together(attention_program: Program) -> None:
    one = layer((16, 8), tokens=1, kv_heads=1, context=4304)
    for position in (2047, 2048, 4303):
        expected = one.expected(position)
        same_bits(decode(attention_program, one, position), expected[0])
        same_bits(prefill(attention_program, one, position), expected)


@pytest.mark.parametrize(("shape", "kv", "window"), WINDOWED, ids=str)
def test_a_window_at_the_edges_of_blocks_tiles_and_chunks(
    attention_program: Program, shape: tuple[int, int], kv: str, window: int
) -> None:
    block = replace(layer(shape, tokens=17, kv=kv, context=400), window=window)
    require(attention_program, block)
    for position in (0, 3, 111, 127, 128, 250, 383):
        expected = block.expected(position)
        same_bits(prefill(attention_program, block, position), expected)
        same_bits(decode(attention_program, block, position + 16, token=16), expected[16])
    changed = block.keys.copy()
    changed[:, : 383 + 16 + 1 - window] = 1  # what the last token may not see
    same_bits(decode(attention_program, replace(block, keys=changed), 383 + 16, token=16), expected[16])


@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize("factor", [0.0, 1e-40, 1e-20, 1e-4, 50.0, 1e5, 1e10], ids=str)
def test_small_and_large_values(attention_program: Program, factor: float, kv: str) -> None:
    """From all zeros over denormal keys to one-hot weights and saturated keys."""
    block = layer((48, 3), tokens=3, factor=factor, kv=kv)
    expected = block.expected(150)
    same_bits(prefill(attention_program, block, 150), expected)
    same_bits(decode(attention_program, block, 150), expected[0])


def test_a_maximum_that_rises_and_falls_from_chunk_to_chunk(attention_program: Program) -> None:
    """The factors of the merge from 1 to 0, on either side."""
    block = layer((16, 8), tokens=4, kv_heads=1)
    for steps in ((1, 30, 900), (900, 30, 1), (30, 900, 1)):
        factors = np.repeat(np.array(steps, f32), 128)[:CONTEXT, None]
        steep = Layer(
            block.queries, canonical.f16_to_f32(canonical.f32_to_f16(block.keys * factors)), block.values
        )
        expected = steep.expected(268)
        same_bits(prefill(attention_program, steep, 268), expected)
        same_bits(decode(attention_program, steep, 268), expected[0])


@pytest.mark.parametrize(("kv", "bound"), [("f16", 5e-4), ("int8", 1.2e-2)])
def test_attention_is_close_to_double_precision(kv: str, bound: float) -> None:
    """Relative L2 error here 2.4e-4 with a float16 cache, 8.5e-3 with an int8 cache."""
    rng = np.random.default_rng(0)
    query, keys, values = (rng.standard_normal(s).astype(f32) for s in [(1, 128), (500, 128), (500, 128)])
    scores = keys.astype(np.float64) @ query[0].astype(np.float64) * 128**-0.5
    weights = np.exp(scores - scores.max())
    exact = (weights / weights.sum()) @ values.astype(np.float64)
    rounded, last, scales = canonical.round_significant(query, 13), np.array([499]), ()
    if kv == "f16":
        keys, values = (canonical.f16_to_f32(canonical.f32_to_f16(x)) for x in (keys, values))
    else:
        (keys, *key_scales), (values, *value_scales) = (canonical.quantize_cache(x) for x in (keys, values))
        keys, values, scales = keys.astype(f32), values.astype(f32), (*key_scales, *value_scales)
    difference = canonical.attention(rounded, keys, values, last, 128**-0.5, *scales)[0] - exact
    assert np.linalg.norm(difference) < bound * np.linalg.norm(exact)
