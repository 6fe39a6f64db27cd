"""Ternary products for AVX512-VNNI: ``vpdpbusd``, 64 codes (u8) with 64 activations (i8) into 16 rows.

One line of U16 weights is one zmm register. Accumulators are int32: |acc| <= 64 * 2 * 128 * K / 4, so K <
524288.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .ternary import LINES_MULTIPLE, Cache, Tile, prefetch, ternary_product
from .tier import Tier

DotProduct: TypeAlias = Callable[[Expr, Expr, Expr], Expr]

ACCUMULATORS = 24
"""Of 32 registers; the others hold the decoded weights of two blocks, activations and masks."""

GEMV_TILE = Tile(blocks=1, tokens=1)
"""One block after the other, so that the hardware sees one stream: Zen 4 then reads at the speed of a plain
read loop (31 GB/s). Two blocks at once reach 15 GB/s, with prefetch 24; prefetching 2 to 8 KB ahead of one
block gains nothing.
"""

GEMM_TILE = Tile(blocks=2, tokens=12)
"""A decoded register meets 12 tokens, a token's four activations meet two blocks."""


def vpdpbusd(acc: Expr, codes: Expr, q: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32x16, uint8x64, int8x64."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.512")
    return T.call_llvm_pure_intrin(intrinsic, acc, codes, q, dtype="int32x16")


def ternary_gemv_u16_16x1_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    return ternary_product(GEMV_TILE, partial(_micro_kernel, dot_product=dot_product), epilogue)


def ternary_gemm_u16_32x12_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    return ternary_product(GEMM_TILE, partial(_micro_kernel, dot_product=dot_product), epilogue)


@cache
def _micro_kernel(tile: Tile, dot_product: DotProduct) -> tirx.PrimFunc:
    """Fields stay at their place in the byte, so that decoding is one AND: shifts take slots of vpdpbusd.

    A small tile has accumulators for several fields and shifts them at the end. A large one passes over its
    lines once for each field, the highest first, and shifts its accumulators between passes: 97 % of the peak
    of Zen 4, with a shift in the loop 88 %. Meanwhile the blocks of the next tile are prefetched into the
    level-2 cache: with weights from memory 4 tokens reach 95 % of the peak, without 60 %.
    """
    fields = next(n for n in (4, 2, 1) if n * tile.blocks * tile.tokens <= ACCUMULATORS)
    passes = 4 // fields
    unroll = LINES_MULTIPLE if fields * tile.tokens <= 8 else 1

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
            sums = T.alloc_buffer((fields, tile.blocks, tile.tokens, 16), "int32", scope="global")
            for f in T.unroll(fields):
                for b in T.unroll(tile.blocks):
                    for m in T.unroll(tile.tokens):
                        sums[f, b, m, vector(0, 16)] = T.broadcast(0, 16)
            for p in range(passes):
                if passes > 1:
                    for f in T.unroll(fields):
                        for b in T.unroll(tile.blocks):
                            for m in T.unroll(tile.tokens):
                                sums[f, b, m, vector(0, 16)] = T.shift_right(
                                    sums[f, b, m, vector(0, 16)], T.broadcast(2 * fields, 16)
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
                                for b in T.unroll(tile.blocks):
                                    sums[f, b, m, vector(0, 16)] = dot_product(
                                        sums[f, b, m, vector(0, 16)],
                                        T.bitwise_and(
                                            W.vload([b, l4 * unroll + l, 0, 0], "uint8x64"),
                                            _field_mask(field(f, p)),
                                        ),
                                        _four_everywhere(Q.vload([m, l4 * unroll + l, f, 0], "int8x4")),
                                    )
            for f in T.unroll(fields):
                for b in T.unroll(tile.blocks):
                    for m in T.unroll(tile.tokens):
                        C[b, m, vector(0, 16)] = C[b, m, vector(0, 16)] + T.shift_right(
                            sums[f, b, m, vector(0, 16)], T.broadcast(f * 2, 16)
                        )

    return product.with_attr("global_symbol", f"product_u16_{16 * tile.blocks}x{tile.tokens}_avx512vnni")


def _field_mask(field: Expr) -> Expr:
    return T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), 64)


def _four_everywhere(q: Expr) -> Expr:
    """Four activations, for all 16 rows."""
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), 16), dtype="int8x64")
