"""Rotary position embedding of the query and key heads, and the append of keys and values to the cache."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import (
    Expr,
    absolute_bits,
    f32_to_f16,
    mul,
    quantize,
    round_significant,
    splat,
    tree_max,
    vector,
)
from .float_tier import native_f16
from .kv_cache import EXACT_BITS, KEY_BLOCK, element_type, scales_of
from .tier import Tier

_MINIMUM_ABSMAX = 1e-5


def rope_append(tier: Tier, head_dim: int, kv: str = "f16") -> PrimFunc:
    """Rotate query head u < H in place; for u ≥ H rotate key head u - H into the cache and append its values.

    Queries are rounded to EXACT_BITS. Halves are rotated against each other (NeoX): with c, s of the token's
    position, a' = a·c - b·s and b' = b·c + a·s. An int8 cache holds, of each key and value, the codes
    round(x · (127 · (1 / absmax))) and the scale absmax · (1 / 127), absmax at least 1e-5.

    Buffers: qkv [n][stride] with rows [H·D q | KV·D k | KV·D v | padding], cos [context][D / 2], sin, keys
    and values (kv_cache.py). Scalars: count and begin of the heads, n tokens, position of the first token,
    stride, H, KV, context.
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

    @T.inline
    def encode(x: Expr, scales: Expr, kv_head: Expr, at: Expr, largest: Expr, elements: Expr) -> None:
        """elements [D] of a row x [D]; an int8 cache gets the row's scale."""
        if kv == "f16":
            for j in T.unroll(head_dim // lanes):
                elements[vector(j * lanes, lanes)] = f32_to_f16(x[vector(j * lanes, lanes)], native)
        else:
            largest[vector(0, lanes)] = splat(T.float32(_MINIMUM_ABSMAX), lanes)
            for j in T.unroll(head_dim // lanes):
                magnitude: T.let = T.reinterpret(
                    absolute_bits(x[vector(j * lanes, lanes)]), dtype=f"float32x{lanes}"
                )
                largest[vector(0, lanes)] = T.max(largest[vector(0, lanes)], magnitude)
            absmax: T.let = tree_max(largest[vector(0, lanes)])
            scale: T.let = T.float32(127.0) * (T.float32(1.0) / absmax)
            scales[kv_head, at] = absmax * T.float32(1.0 / 127.0)
            for j in T.unroll(head_dim // lanes):
                elements[vector(j * lanes, lanes)] = quantize(
                    x[vector(j * lanes, lanes)], splat(scale, lanes)
                )

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
        keys = T.match_buffer(
            key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), element_type(kv)
        )
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), element_type(kv))
        key_scales = scales_of(keys, kv_heads, context, head_dim)
        value_scales = scales_of(values, kv_heads, context, head_dim)
        row = T.alloc_buffer((head_dim,), "float32")
        elements = T.alloc_buffer((head_dim,), element_type(kv))
        largest = T.alloc_buffer((lanes,), "float32")
        for i in range(count):
            for t in range(tokens):
                head: T.let = begin + i
                at: T.let = position + t
                rotate(qkv, t, head * head_dim, cos, sin, at, row)
                if head < heads:
                    for j in T.unroll(head_dim // lanes):
                        qkv[t, vector(head * head_dim + j * lanes, lanes)] = round_significant(
                            row[vector(j * lanes, lanes)], EXACT_BITS
                        )
                else:
                    kv_head: T.let = head - heads
                    encode(row, key_scales, kv_head, at, largest, elements)
                    for d in range(head_dim):
                        keys[kv_head, T.shift_right(at, 4), d, T.bitwise_and(at, KEY_BLOCK - 1)] = elements[d]
                    for j in T.unroll(head_dim // lanes):
                        row[vector(j * lanes, lanes)] = qkv[
                            t, vector((head + kv_heads) * head_dim + j * lanes, lanes)
                        ]
                    encode(row, value_scales, kv_head, at, largest, elements)
                    for j in T.unroll(head_dim // lanes):
                        values[kv_head, at, vector(j * lanes, lanes)] = elements[vector(j * lanes, lanes)]

    return kernel
