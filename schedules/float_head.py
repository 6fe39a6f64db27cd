"""The lm_head: logits of one hidden state against rows of the embedding."""

from __future__ import annotations

from collections.abc import Callable

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .cache import Cache, prefetch
from .float_ops import (
    ALL,
    LANES,
    PARTIALS,
    Expr,
    bf16_to_f32,
    canonical_nan,
    constant,
    sum_partials,
    tree_sum,
    vector,
)
from .float_tier import accumulator_lanes
from .tier import Tier

LIFT = 2.0**63
"""h is multiplied by it and the logit divided: then the smallest product, of 2⁻⁶⁴ (16 bits) and a denormal
bfloat16 (last place 2⁻¹³³), is exact too. Holds while |h| < 2⁵⁰; a normalised row is far below."""

PREFETCH_DISTANCE = 48
"""Blocks of 64 columns, 6 KB. One row after the other: two at once, which would share h, took Zen 4 twice as
long, because they are streams too short for its hardware.
"""


def lm_head(tier: Tier) -> PrimFunc:
    """logits[v] = E[v] · h, with 64 interleaved partial sums over the row; a NaN is 0x7FC00000.

    h has 16 significant bits (kernel `rmsnorm`) and bfloat16 has 8, so that every product is exact: a fused
    multiply-add gives the same bits as a product and a sum, and no fence is needed.

    Buffers: E bfloat16 as uint16 [count][P], h [P], logits [count]. Scalars: count, P / 64.
    """
    return _logits(tier, "uint16", bf16_to_f32, 1, PREFETCH_DISTANCE)


def lm_head_rows(tier: Tier) -> PrimFunc:
    """The bits of `lm_head` from rows that are widened already.

    Buffers: E float32 [count][P], each a bfloat16 value, h [P], logits [count]. Scalars: count, P / 64.
    """
    return _logits(tier, "float32", lambda x: x, max(1, accumulator_lanes(tier) // (PARTIALS * LANES)), 0)


def _logits(
    tier: Tier, dtype: str, widen: Callable[[Expr], Expr], rows: int, prefetch_distance: int
) -> PrimFunc:
    """``rows`` at once; prefetches so many blocks of 64 columns ahead, none where 0."""
    width = min(LANES, accumulator_lanes(tier) // PARTIALS)
    halves = 2 if prefetch_distance else 0  # cache lines of a block of bfloat16

    @T.inline
    def dot_rows(
        table: Expr,
        h: Expr,
        logits: Expr,
        row: Expr,
        rows: int,
        blocks: Expr,
        partial: Expr,
        total: Expr,
    ) -> None:
        for part in T.unroll(LANES // width):
            for j in T.unroll(PARTIALS):
                for r in T.unroll(rows):
                    partial[j, r, vector(0, width)] = constant(0.0, width)
            for block in range(blocks):
                for line in T.unroll(halves):
                    prefetch(table[row, block + prefetch_distance, line * 2, 0], Cache.L2)
                for j in T.unroll(PARTIALS):
                    lifted: T.let = h[block, j, vector(part * width, width)] * constant(LIFT, width)
                    for r in T.unroll(rows):
                        weight = widen(table[row + r, block, j, vector(part * width, width)])
                        partial[j, r, vector(0, width)] = partial[j, r, vector(0, width)] + lifted * weight
            for r in T.unroll(rows):
                total[r, vector(part * width, width)] = sum_partials(partial, (r, vector(0, width)))
        for r in T.unroll(rows):
            logit: T.let = tree_sum(total[r, ALL]) * T.float32(1.0 / LIFT)
            logits[row + r] = canonical_nan(logit)

    @T.prim_func(s_tir=True)
    def kernel(
        table_data: T.handle, h_data: T.handle, logits_data: T.handle, count: T.int32, blocks: T.int32
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        table = T.match_buffer(table_data, (count, blocks, PARTIALS, LANES), dtype)
        h = T.match_buffer(h_data, (blocks, PARTIALS, LANES), "float32")
        logits = T.match_buffer(logits_data, (count,), "float32")
        partial = T.alloc_buffer((PARTIALS, rows, width), "float32")
        total = T.alloc_buffer((rows, LANES), "float32")
        for group in range(T.truncdiv(count, rows)):
            dot_rows(table, h, logits, group * rows, rows, blocks, partial, total)
        for i in range(T.truncmod(count, rows)):
            dot_rows(table, h, logits, count - 1 - i, 1, blocks, partial, total)

    return kernel
