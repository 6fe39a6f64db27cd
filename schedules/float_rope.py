"""Rotary position embedding of the query and key heads, and the append of keys and values to the cache."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import Expr, f32_to_f16, mul, round_significant, vector
from .float_tier import native_f16
from .tier import Tier

EXACT_BITS = 13
"""Significant bits of queries and attention weights: their products with float16 are exact in float32."""

KEY_BLOCK = 16
"""Keys that lie side by side in the key cache, [KV][context / 16][D][16]."""


def rope_append(tier: Tier, head_dim: int) -> PrimFunc:
    """Rotate query head u < H in place; for u ≥ H rotate key head u - H into the cache and append its values.

    Queries are rounded to EXACT_BITS.
    Halves are rotated against each other (NeoX): with c, s of the token's position,
    a' = a·c - b·s and b' = b·c + a·s. The cache is float16.

    Buffers: qkv [n][stride] with rows [H·D q | KV·D k | KV·D v | padding], cos [context][D / 2], sin, key
    cache uint16 [KV][context / 16][D][16], value cache uint16 [KV][context][D]. Scalars: count and begin of
    the heads, n tokens, position of the first token, stride, H, KV, context (a multiple of 16).
    """
    native = native_f16(tier)
    half = head_dim // 2
    lanes = 16 if half % 16 == 0 else 8

    @T.inline
    def rotate(qkv: Expr, t: Expr, start: Expr, cos: Expr, sin: Expr, position: Expr, rotated: Expr) -> None:
        for j in T.unroll(half // lanes):
            a: T.let = qkv[t, vector(start + j * lanes, lanes)]
            b: T.let = qkv[t, vector(start + half + j * lanes, lanes)]
            c: T.let = cos[position, vector(j * lanes, lanes)]
            s: T.let = sin[position, vector(j * lanes, lanes)]
            rotated[vector(j * lanes, lanes)] = mul(a, c) - mul(b, s)
            rotated[vector(half + j * lanes, lanes)] = mul(b, c) + mul(a, s)

    @T.prim_func(s_tir=True)
    def kernel(
        qkv_data: T.handle,
        cos_data: T.handle,
        sin_data: T.handle,
        key_data: T.handle,
        value_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        position: T.int32,
        stride: T.int32,
        heads: T.int32,
        kv_heads: T.int32,
        context: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        qkv = T.match_buffer(qkv_data, (tokens, stride), "float32")
        cos = T.match_buffer(cos_data, (context, half), "float32")
        sin = T.match_buffer(sin_data, (context, half), "float32")
        keys = T.match_buffer(key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), "uint16")
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), "uint16")
        rotated = T.alloc_buffer((head_dim,), "float32")
        halves = T.alloc_buffer((head_dim,), "uint16")
        for i in range(count):
            for t in range(tokens):
                head: T.let = begin + i
                at: T.let = position + t
                rotate(qkv, t, head * head_dim, cos, sin, at, rotated)
                if head < heads:
                    for j in T.unroll(head_dim // lanes):
                        qkv[t, vector(head * head_dim + j * lanes, lanes)] = round_significant(
                            rotated[vector(j * lanes, lanes)], EXACT_BITS
                        )
                else:
                    kv_head: T.let = head - heads
                    for j in T.unroll(head_dim // lanes):
                        halves[vector(j * lanes, lanes)] = f32_to_f16(
                            rotated[vector(j * lanes, lanes)], native
                        )
                    for d in range(head_dim):
                        keys[kv_head, T.shift_right(at, 4), d, T.bitwise_and(at, KEY_BLOCK - 1)] = halves[d]
                    for j in T.unroll(head_dim // lanes):
                        value: T.let = qkv[t, vector((head + kv_heads) * head_dim + j * lanes, lanes)]
                        values[kv_head, at, vector(j * lanes, lanes)] = f32_to_f16(value, native)

    return kernel
