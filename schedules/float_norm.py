"""RMSNorm and the int8 quantiser of activations.

A row is [blocks][4][16] float32: block, partial sum, lane. A sum over a row keeps 64 interleaved partial
sums, adds them as ((a0 + a1) + (a2 + a3)) and ends in a halving tree over the 16 lanes. Padding columns hold
0 in the row and in the weight: they add nothing to a sum or a maximum, and quantise to 0.
One schedule serves every tier.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import (
    ALL,
    LANES,
    PARTIALS,
    Expr,
    absolute_bits,
    constant,
    fence,
    mul,
    quantize,
    round_significant,
    splat,
    sum_partials,
    tree_sum,
    vector,
)
from .tier import Tier

NORM_BITS = 16
"""Significant bits of the final norm's output: with bfloat16's 8, the products of the lm_head are exact."""

_MINIMUM_ABSMAX = 0x3727C5AC
"""Bits of float32(1e-5), the quantiser's lower bound of the absolute maximum."""


Combine = Callable[[Expr, Expr, Expr], Expr]
"""What becomes of an output vector, from its old value, the normalised vector x · r and the weight."""


def scaled(_: Expr, normed: Expr, weight: Expr) -> Expr:
    return normed * weight


def added(out: Expr, normed: Expr, weight: Expr) -> Expr:
    return out + mul(normed, weight)


def rmsnorm(tier: Tier, eps: float) -> PrimFunc:
    """out = round16((x · r) · weight), r = 1 / sqrt(mean(x²) + eps): the final norm, before the lm_head.

    Buffers and scalars as of `norm_rows`.
    """

    def rounded(_: Expr, normed: Expr, weight: Expr) -> Expr:
        return round_significant(normed * weight, NORM_BITS)

    return norm_rows(eps, rounded)


def rmsnorm_rows(tier: Tier, eps: float, residual: bool = False) -> PrimFunc:
    """out = (x · r) · weight, r = 1 / sqrt(mean(x²) + eps), or with ``residual`` out = out + that.

    Buffers and scalars as of `norm_rows`.
    """
    return norm_rows(eps, added if residual else scaled)


def norm_rows(eps: float, combine: Combine, one_row: bool = False) -> PrimFunc:
    """The norm of every row into a row of its own, or with ``one_row`` all into the first.

    Buffers: x [count][P], weight [P], out [count][P] or [P]. Scalars: count, P / 64, K (the row's length
    unpadded).
    """

    def place(row: Expr) -> Expr:
        return 0 if one_row else row

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle,
        weight_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        blocks: T.int32,
        width: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (count, blocks, PARTIALS, LANES), "float32")
        weight = T.match_buffer(weight_data, (blocks, PARTIALS, LANES), "float32")
        out = T.match_buffer(out_data, (count, blocks, PARTIALS, LANES), "float32")
        partial = T.alloc_buffer((PARTIALS, LANES), "float32")
        inverse = T.alloc_buffer((1,), "float32")
        for row in range(count):
            _norm_row(x, row, weight, out, place(row), combine, blocks, width, eps, partial, inverse)

    return kernel


def rmsnorm_quantize(tier: Tier, eps: float) -> PrimFunc:
    """RMSNorm of each row, then int8 codes, their sum and the scale: what a ternary matmul reads.

    Buffers: x [count][P], weight [P], q int8 [count][P], sum int32 [count], scale [count], scratch [P] (the
    normalised row). Scalars: count, P / 64, K (the row's length unpadded).
    """

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle,
        weight_data: T.handle,
        q_data: T.handle,
        sum_data: T.handle,
        scale_data: T.handle,
        scratch_data: T.handle,
        count: T.int32,
        blocks: T.int32,
        width: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (count, blocks, PARTIALS, LANES), "float32")
        weight = T.match_buffer(weight_data, (blocks, PARTIALS, LANES), "float32")
        q = T.match_buffer(q_data, (count, blocks, PARTIALS, LANES), "int8")
        sums = T.match_buffer(sum_data, (count,), "int32")
        scales = T.match_buffer(scale_data, (count,), "float32")
        scratch = T.match_buffer(scratch_data, (1, blocks, PARTIALS, LANES), "float32")
        partial = T.alloc_buffer((PARTIALS, LANES), "float32")
        inverse = T.alloc_buffer((1,), "float32")
        integers = T.alloc_buffer((PARTIALS, LANES), "int32")
        for row in range(count):
            _norm_row(x, row, weight, scratch, 0, scaled, blocks, width, eps, partial, inverse)
            _quantize_row(scratch, 0, q, sums, scales, row, blocks, integers)

    return kernel


def head_norm(tier: Tier, head_dim: int, eps: float) -> PrimFunc:
    """RMSNorm of every head of queries and keys, in place; partial sum j takes the vectors j, j + 4, ... of a
    head, whose features are a multiple of 16.

    Unit u < H is query head u, else key head u - H. Buffers: qkv [n][stride] with rows [H·D q | KV·D k | …],
    weights [D] of queries and of keys. Scalars: count and begin of the units, n tokens, stride, H.
    """

    @T.inline
    def normalise(qkv: Expr, t: Expr, head: Expr, weight: Expr, partial: Expr, inverse: Expr) -> None:
        for j in T.unroll(PARTIALS):
            partial[j, ALL] = constant(0.0, LANES)
        for j in T.unroll(head_dim // LANES):
            x: T.let = qkv[t, vector(head * head_dim + j * LANES, LANES)]
            partial[j % PARTIALS, ALL] = partial[j % PARTIALS, ALL] + mul(x, x)
        total: T.let = sum_partials(partial, (ALL,))
        mean: T.let = fence(tree_sum(total) / T.float32(head_dim))  # a product where D is a power of two
        inverse[0] = T.float32(1.0) / T.sqrt(mean + T.float32(eps))
        for j in T.unroll(head_dim // LANES):
            normed: T.let = qkv[t, vector(head * head_dim + j * LANES, LANES)] * splat(inverse[0], LANES)
            qkv[t, vector(head * head_dim + j * LANES, LANES)] = normed * weight[vector(j * LANES, LANES)]

    @T.prim_func(s_tir=True)
    def kernel(
        qkv_data: T.handle,
        query_weight_data: T.handle,
        key_weight_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        stride: T.int32,
        heads: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        qkv = T.match_buffer(qkv_data, (tokens, stride), "float32")
        query_weight = T.match_buffer(query_weight_data, (head_dim,), "float32")
        key_weight = T.match_buffer(key_weight_data, (head_dim,), "float32")
        partial = T.alloc_buffer((PARTIALS, LANES), "float32")
        inverse = T.alloc_buffer((1,), "float32")
        for i in range(count):
            for t in range(tokens):
                head: T.let = begin + i
                if head < heads:
                    normalise(qkv, t, head, query_weight, partial, inverse)
                else:
                    normalise(qkv, t, head, key_weight, partial, inverse)

    return kernel


def quantize_rows(tier: Tier) -> PrimFunc:
    """int8 codes of each row, their sum and the scale: the kernel `quantize`, for inputs without a norm.

    Buffers: x [count][P], q int8 [count][P], sum int32 [count], scale [count]. Scalars: count, P / 64.
    """

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle,
        q_data: T.handle,
        sum_data: T.handle,
        scale_data: T.handle,
        count: T.int32,
        blocks: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (count, blocks, PARTIALS, LANES), "float32")
        q = T.match_buffer(q_data, (count, blocks, PARTIALS, LANES), "int8")
        sums = T.match_buffer(sum_data, (count,), "int32")
        scales = T.match_buffer(scale_data, (count,), "float32")
        integers = T.alloc_buffer((PARTIALS, LANES), "int32")
        for row in range(count):
            _quantize_row(x, row, q, sums, scales, row, blocks, integers)

    return kernel


@T.inline
def _norm_row(
    x: Expr,
    row: Expr,
    weight: Expr,
    out: Expr,
    out_row: Expr,
    combine: Combine,
    blocks: Expr,
    width: Expr,
    eps: float,
    partial: Expr,
    inverse: Expr,
) -> None:
    """out[out_row] from x[row]; inverse[0] = 1 / sqrt(mean(x[row]²) + eps)."""
    for j in T.unroll(PARTIALS):
        partial[j, ALL] = constant(0.0, LANES)
    for block in range(blocks):
        for j in T.unroll(PARTIALS):
            partial[j, ALL] = partial[j, ALL] + mul(x[row, block, j, ALL], x[row, block, j, ALL])
    total: T.let = sum_partials(partial, (ALL,))
    mean: T.let = tree_sum(total) / T.cast(width, "float32")
    inverse[0] = T.float32(1.0) / T.sqrt(mean + T.float32(eps))
    for block in range(blocks):
        for j in T.unroll(PARTIALS):
            normed: T.let = x[row, block, j, ALL] * splat(inverse[0], LANES)
            out[out_row, block, j, ALL] = combine(out[out_row, block, j, ALL], normed, weight[block, j, ALL])


@T.inline
def _quantize_row(
    x: Expr, x_row: Expr, q: Expr, sums: Expr, scales: Expr, row: Expr, blocks: Expr, integers: Expr
) -> None:
    """q[row], sums[row], scales[row] from x[x_row]; `integers`: partial maxima, then partial sums."""
    for j in T.unroll(PARTIALS):
        integers[j, ALL] = T.broadcast(0, LANES)
    for block in range(blocks):
        for j in T.unroll(PARTIALS):
            integers[j, ALL] = T.max(integers[j, ALL], absolute_bits(x[x_row, block, j, ALL]))
    integers[0, ALL] = T.max(
        T.max(integers[0, ALL], integers[1, ALL]), T.max(integers[2, ALL], integers[3, ALL])
    )
    for lane in T.unroll(1, LANES):
        integers[0, 0] = T.max(integers[0, 0], integers[0, lane])
    absmax: T.let = T.reinterpret(T.max(integers[0, 0], _MINIMUM_ABSMAX), dtype="float32")
    scale: T.let = T.float32(127.0) * (T.float32(1.0) / absmax)
    scales[row] = scale
    for j in T.unroll(PARTIALS):
        integers[j, ALL] = T.broadcast(0, LANES)
    for block in range(blocks):
        for j in T.unroll(PARTIALS):
            code: T.let = quantize(x[x_row, block, j, ALL], splat(scale, LANES))
            q[row, block, j, ALL] = code
            integers[j, ALL] = integers[j, ALL] + T.cast(code, "int32x16")
    integers[0, ALL] = sum_partials(integers, (ALL,))
    for lane in T.unroll(1, LANES):
        integers[0, 0] = integers[0, 0] + integers[0, lane]
    sums[row] = integers[0, 0]
