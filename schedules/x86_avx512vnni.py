"""Ternary products for AVX512-VNNI: ``vpdpbusd``, 64 codes (u8) with 64 activations (i8) into 16 rows.

One line of U16 weights is one zmm register. Accumulators are int32: |acc| <= 64 * 2 * 128 * K / 4, so K <
524288.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .ternary import LINES_MULTIPLE, Tile, ternary_product
from .tier import Tier

DotProduct: TypeAlias = Callable[[Expr, Expr, Expr], Expr]

GEMM_TILE = Tile(blocks=2, tokens=12)


def vpdpbusd(acc: Expr, codes: Expr, q: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32x16, uint8x64, int8x64."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.512")
    return T.call_llvm_pure_intrin(intrinsic, acc, codes, q, dtype="int32x16")


def ternary_gemv_u16_16x1_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    """One accumulator for each field, which stays in place: decoding is one AND, shifts come at the end."""

    def micro_kernel(tile: Tile) -> tirx.PrimFunc:
        @T.prim_func(s_tir=True, check_well_formed=False)
        def gemv_u16_16x1_avx512vnni(weights: T.handle, q: T.handle, acc: T.handle) -> None:
            lines = T.int32()
            W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
            X = T.match_buffer(q, (1, lines, 4, 4), "int8", offset_factor=1)
            C = T.match_buffer(acc, (1, 1, 16), "int32", offset_factor=1)
            with T.sblock("root"):
                T.reads(C[0, 0, 0:16], W[0, 0:lines, 0:16, 0:4], X[0, 0:lines, 0:4, 0:4])
                T.writes(C[0, 0, 0:16])
                fields = T.alloc_buffer((4, 16), "int32", scope="global")
                for g in T.unroll(4):
                    fields[g, vector(0, 16)] = T.broadcast(0, 16)
                for l4 in range(lines // LINES_MULTIPLE):
                    for l in T.unroll(LINES_MULTIPLE):
                        for g in T.unroll(4):
                            fields[g, vector(0, 16)] = dot_product(
                                fields[g, vector(0, 16)],
                                T.bitwise_and(
                                    W.vload([0, l4 * LINES_MULTIPLE + l, 0, 0], "uint8x64"), _field_mask(g)
                                ),
                                _four_everywhere(X.vload([0, l4 * LINES_MULTIPLE + l, g, 0], "int8x4")),
                            )
                for g in T.unroll(4):
                    C[0, 0, vector(0, 16)] = C[0, 0, vector(0, 16)] + T.shift_right(
                        fields[g, vector(0, 16)], T.broadcast(g * 2, 16)
                    )

        return gemv_u16_16x1_avx512vnni

    return ternary_product(Tile(blocks=1, tokens=1), micro_kernel, epilogue)


def ternary_gemm_u16_32x12_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    """24 accumulators: a decoded register meets 12 tokens, a token's four activations meet two blocks.

    Steps are fields, not lines: with a whole line in the loop body LLVM loads all its activations at once and
    spills.
    """

    def micro_kernel(tile: Tile) -> tirx.PrimFunc:
        @T.prim_func(s_tir=True, check_well_formed=False)
        def gemm_u16_32x12_avx512vnni(weights: T.handle, q: T.handle, acc: T.handle) -> None:
            lines = T.int32()
            W = T.match_buffer(weights, (tile.blocks, lines, 16, 4), "uint8", offset_factor=1)
            X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
            C = T.match_buffer(acc, (tile.blocks, tile.tokens, 16), "int32", offset_factor=1)
            with T.sblock("root"):
                T.reads(C[0 : tile.blocks, 0 : tile.tokens, 0:16], W[0 : tile.blocks, 0:lines, 0:16, 0:4],
                        X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
                T.writes(C[0 : tile.blocks, 0 : tile.tokens, 0:16])
                sums = T.alloc_buffer((tile.blocks, tile.tokens, 16), "int32", scope="global")
                for b in T.unroll(tile.blocks):
                    for m in T.unroll(tile.tokens):
                        sums[b, m, vector(0, 16)] = T.broadcast(0, 16)
                for step in range(lines * 4):
                    for m in T.unroll(tile.tokens):
                        for b in T.unroll(tile.blocks):
                            sums[b, m, vector(0, 16)] = dot_product(
                                sums[b, m, vector(0, 16)],
                                _decode(W.vload([b, step // 4, 0, 0], "uint8x64"), step % 4),
                                _four_everywhere(X.vload([m, step // 4, step % 4, 0], "int8x4")),
                            )
                for b in T.unroll(tile.blocks):
                    for m in T.unroll(tile.tokens):
                        C[b, m, vector(0, 16)] = C[b, m, vector(0, 16)] + sums[b, m, vector(0, 16)]

        return gemm_u16_32x12_avx512vnni.with_attr(
            "global_symbol", f"gemm_u16_{16 * tile.blocks}x{tile.tokens}_avx512vnni"
        )

    return ternary_product(GEMM_TILE, micro_kernel, epilogue)


def _field_mask(field: Expr) -> Expr:
    return T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), 64)


def _decode(line: Expr, field: Expr) -> Expr:
    """Codes 0..2 of one field of a line; shifting words is harmless, the mask cuts what crosses a byte."""
    words = T.shift_right(
        T.reinterpret(line, dtype="uint32x16"), T.broadcast(T.cast(field * 2, "uint32"), 16)
    )
    return T.bitwise_and(T.reinterpret(words, dtype="uint8x64"), T.broadcast(T.uint8(3), 64))


def _four_everywhere(q: Expr) -> Expr:
    """Four activations, for all 16 rows."""
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), 16), dtype="int8x64")
