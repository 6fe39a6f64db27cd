"""Attention over the float16 cache, one query head and one token at a time.

Queries and probabilities are rounded to 13 significant bits: their products with float16 (11 bits) are exact
in float32, so a fused multiply-add gives the same bits as a product and a sum, and no fence is needed.
Relative L2 error against an unquantised cache: 5.0e-4; float32 queries and probabilities give 4.9e-4.

Decode and prefill are the same kernel, and a token's result does not depend on the tokens beside it.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import (
    ALL,
    LANES,
    MASKED_SCORE,
    PARTIALS,
    Expr,
    constant,
    exp,
    f16_to_f32,
    mul,
    round_significant,
    splat,
    sum_partials,
    tree_sum,
    vector,
)
from .float_tier import accumulator_lanes, native_f16
from .kv_cache import KEY_BLOCK
from .tier import Tier

EXACT_BITS = 13
"""Significant bits of queries and probabilities."""


def attention(tier: Tier, head_dim: int, scale: float) -> PrimFunc:
    """out[t][head] = softmax(scale · q·K over the keys up to the token) · V.

    Score: a lane is a key, 4 interleaved partial sums over d, ((a0 + a1) + (a2 + a3)) · scale. Softmax:
    maximum, exp, 16 lane sums over blocks of 16 keys and their tree. Output: a lane is d, keys in order.

    Buffers: qkv [n][stride], key cache uint16 [KV][context / 16][D][16], value cache uint16 [KV][context][D],
    scratch [context], out [n][out_stride]. Scalars: count and begin of the query heads, n tokens, position of
    the first token, stride, out_stride, query heads per key head, context (a multiple of 16).
    """
    native = native_f16(tier)
    width = min(KEY_BLOCK, accumulator_lanes(tier) // PARTIALS)  # keys at once
    columns = _column_chunk(head_dim, accumulator_lanes(tier))

    @T.inline
    def score_keys(query: Expr, keys: Expr, kv_head: Expr, last: Expr, partial: Expr, scores: Expr) -> None:
        for block in range(T.shift_right(last, 4) + 1):
            for part in T.unroll(KEY_BLOCK // width):
                for j in T.unroll(PARTIALS):
                    partial[j, vector(0, width)] = constant(0.0, width)
                for d in range(head_dim // PARTIALS):
                    for j in T.unroll(PARTIALS):
                        key = f16_to_f32(
                            keys[kv_head, block, d * PARTIALS + j, vector(part * width, width)], native
                        )
                        partial[j, vector(0, width)] = (
                            partial[j, vector(0, width)] + splat(query[d * PARTIALS + j], width) * key
                        )
                first: T.let = block * KEY_BLOCK + part * width
                dot: T.let = sum_partials(partial, (vector(0, width),))
                scores[vector(first, width)] = T.Select(
                    vector(first, width) <= splat(last, width),
                    mul(dot, constant(scale, width)),
                    constant(MASKED_SCORE, width),
                )

    @T.inline
    def sum_values(
        scores: Expr, values: Expr, kv_head: Expr, last: Expr, total: Expr, out: Expr, t: Expr, start: Expr
    ) -> None:
        for chunk in T.unroll(head_dim // columns):
            for j in T.unroll(columns // LANES):
                total[j, ALL] = constant(0.0, LANES)
            for key in range(last + 1):
                for j in T.unroll(columns // LANES):
                    value = f16_to_f32(
                        values[kv_head, key, vector(chunk * columns + j * LANES, LANES)], native
                    )
                    total[j, ALL] = total[j, ALL] + splat(scores[key], LANES) * value
            for j in T.unroll(columns // LANES):
                out[t, vector(start + chunk * columns + j * LANES, LANES)] = total[j, ALL]

    @T.prim_func(s_tir=True)
    def kernel(
        qkv_data: T.handle,
        key_data: T.handle,
        value_data: T.handle,
        scratch_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        position: T.int32,
        stride: T.int32,
        out_stride: T.int32,
        group: T.int32,
        context: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        kv_heads = T.int32()
        qkv = T.match_buffer(qkv_data, (tokens, stride), "float32")
        keys = T.match_buffer(key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), "uint16")
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), "uint16")
        scores = T.match_buffer(scratch_data, (context,), "float32")
        out = T.match_buffer(out_data, (tokens, out_stride), "float32")
        query = T.alloc_buffer((head_dim,), "float32")
        partial = T.alloc_buffer((PARTIALS, width), "float32")
        lanes = T.alloc_buffer((2, LANES), "float32")
        total = T.alloc_buffer((columns // LANES, LANES), "float32")
        for i in range(count):
            for t in range(tokens):
                start: T.let = (begin + i) * head_dim
                kv_head: T.let = T.truncdiv(begin + i, group)
                last: T.let = position + t
                for j in T.unroll(head_dim // LANES):
                    q: T.let = qkv[t, vector(start + j * LANES, LANES)]
                    query[vector(j * LANES, LANES)] = round_significant(q, EXACT_BITS)
                score_keys(query, keys, kv_head, last, partial, scores)
                _softmax(scores, T.shift_right(last, 4) + 1, lanes)
                sum_values(scores, values, kv_head, last, total, out, t, start)

    return kernel


@T.inline
def _softmax(scores: Expr, blocks: Expr, lanes: Expr) -> None:
    """Scores to rounded probabilities, in place; lanes[0] holds maxima, lanes[1] sums."""
    lanes[0, ALL] = scores[ALL]
    for block in range(1, blocks):
        lanes[0, ALL] = T.max(lanes[0, ALL], scores[vector(block * LANES, LANES)])
    for lane in T.unroll(1, LANES):
        lanes[0, 0] = T.max(lanes[0, 0], lanes[0, lane])
    maximum: T.let = lanes[0, 0]
    lanes[1, ALL] = constant(0.0, LANES)
    for block in range(blocks):
        distance: T.let = scores[vector(block * LANES, LANES)] - splat(maximum, LANES)
        weight: T.let = exp(distance)
        scores[vector(block * LANES, LANES)] = weight
        lanes[1, ALL] = lanes[1, ALL] + weight
    inverse: T.let = T.float32(1.0) / tree_sum(lanes[1, ALL])
    for block in range(blocks):
        probability: T.let = scores[vector(block * LANES, LANES)] * splat(inverse, LANES)
        scores[vector(block * LANES, LANES)] = round_significant(probability, EXACT_BITS)


def _column_chunk(head_dim: int, most: int) -> int:
    """The widest multiple of 16 columns, at most `most`, that divides a head."""
    return max(width for width in range(LANES, max(most, LANES) + 1, LANES) if head_dim % width == 0)
