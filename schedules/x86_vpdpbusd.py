"""Micro-kernels of ``vpdpbusd``: codes (u8) with as many activations (i8), summed by fours into int32.

A line of U16 weights is one zmm register of 16 rows (AVX512-VNNI) or two ymm registers of 8 rows (AVX-VNNI).
Accumulators are int32: |acc| <= 64 * 2 * 128 * K / 4, so K < 524288.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr, vector
from .tiles import LINES_MULTIPLE, ROWS, Tile

DotProduct: TypeAlias = Callable[[Expr, Expr, Expr], Expr]
"""``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32 [rows], uint8, int8 [4 rows]."""


@cache
def micro_kernel(
    tile: Tile, dot_product: DotProduct, rows: int, accumulators: int, unrolled: int
) -> tirx.PrimFunc:
    """Registers of ``rows`` rows, at most ``accumulators`` of them to add to; loops with at most ``unrolled``
    are unrolled.

    Fields stay at their place in the byte, so that decoding is one AND: shifts take slots of vpdpbusd.

    A small tile has accumulators for several fields and shifts them at the end. A large one passes over its
    lines once for each field, the highest first, and shifts its accumulators between passes: 97 % of the peak
    of Zen 4, with a shift in the loop 88 %. Meanwhile the blocks of the next tile are prefetched into the
    level-2 cache: with weights from memory 4 tokens reach 95 % of the peak, without 60 %.
    """
    parts = tile.blocks * ROWS // rows  # of the blocks, one in each register
    fields = next(n for n in (4, 2, 1) if n * parts * tile.tokens <= accumulators)
    passes = 4 // fields
    unroll = LINES_MULTIPLE if fields * parts * tile.tokens <= unrolled else 1

    def field(f: Expr, p: Expr) -> Expr:
        """The f-th field of pass p."""
        return 4 - fields * (p + 1) + f

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (tile.blocks, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (tile.blocks, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0 : tile.blocks, 0 : tile.tokens, 0:16], W[0 : tile.blocks, 0:lines, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0 : tile.blocks, 0 : tile.tokens, 0:16])
            sums = T.alloc_buffer((fields, parts, tile.tokens, rows), "int32", scope="global")
            for f in T.unroll(fields):
                for b in T.unroll(parts):
                    for m in T.unroll(tile.tokens):
                        sums[f, b, m, vector(0, rows)] = T.broadcast(0, rows)
            for p in range(passes):
                if passes > 1:
                    for f in T.unroll(fields):
                        for b in T.unroll(parts):
                            for m in T.unroll(tile.tokens):
                                sums[f, b, m, vector(0, rows)] = T.shift_right(
                                    sums[f, b, m, vector(0, rows)], T.broadcast(2 * fields, rows)
                                )
                # With the field in the index instead LLVM computes every address anew, and spills.
                first: T.let = T.address_of(X[0, 0, field(0, p), 0])
                Q = T.decl_buffer((tile.tokens, lines, 4, 4), "int8", data=first)
                for l4 in range(lines // unroll):
                    for l in T.unroll(unroll):
                        if tile.blocks > 1:
                            for b in T.unroll(tile.blocks):
                                prefetch(
                                    W[tile.blocks + b, (p * lines + l4 * unroll + l) // passes, 0, 0],
                                    Cache.L2,
                                )
                        for f in T.unroll(fields):
                            for m in T.unroll(tile.tokens):
                                for b in T.unroll(parts):
                                    sums[f, b, m, vector(0, rows)] = dot_product(
                                        sums[f, b, m, vector(0, rows)],
                                        T.bitwise_and(
                                            W.vload(
                                                [b * rows // ROWS, l4 * unroll + l, b * rows % ROWS, 0],
                                                f"uint8x{rows * 4}",
                                            ),
                                            _field_mask(field(f, p), rows),
                                        ),
                                        _four_everywhere(Q.vload([m, l4 * unroll + l, f, 0], "int8x4"), rows),
                                    )
            for f in T.unroll(fields):
                for b in T.unroll(parts):
                    for m in T.unroll(tile.tokens):
                        C[b * rows // ROWS, m, vector(b * rows % ROWS, rows)] = C[
                            b * rows // ROWS, m, vector(b * rows % ROWS, rows)
                        ] + T.shift_right(sums[f, b, m, vector(0, rows)], T.broadcast(f * 2, rows))

    name = f"product_u16_{16 * tile.blocks}x{tile.tokens}_vpdpbusd{rows}"
    return product.with_attr("global_symbol", name)


def _field_mask(field: Expr, rows: int) -> Expr:
    return T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), rows * 4)


def _four_everywhere(q: Expr, rows: int) -> Expr:
    """Four activations, for all rows of a register."""
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), rows), dtype=f"int8x{rows * 4}")
