"""Ternary products for arm64 with dotprod: ``sdot`` by lane, 16 codes with four activations into 4 rows.

A line of U16 weights is four q registers (*quarters*) of 4 rows; its 16 activations are one q register, of
which field g meets lane g. Accumulators are int32: |acc| <= 16 * 2 * 128 * K / 2, so K < 2^20.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .panel import Panel
from .ternary import ternary_product
from .tier import Tier
from .tiles import LINES_MULTIPLE, Tile

GEMM_TILE = Tile(blocks=1, tokens=8)


def ternary_gemv_u16_16x1_dotprod(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), _gemv_micro_kernel, epilogue)


def ternary_gemm_u16_16x8_dotprod(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(GEMM_TILE, gemm_micro_kernel, epilogue, panel=PANEL)


@cache
def _gemv_micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """Decoding is one instruction a field: fields 0, 1 and 2 stay at their place in the byte and are
    accumulated apart; field 3 is shifted down (in place it would be negative) and joins field 0.
    """

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (1, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, 1, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0, 0:16], W[0, 0:lines, 0:16, 0:4], X[0, 0:lines, 0:4, 0:4])
            T.writes(C[0, 0, 0:16])
            fields = T.alloc_buffer((3, 16), "int32", scope="global")
            for g in T.unroll(3):
                for r in T.unroll(4):
                    fields[g, vector(r * 4, 4)] = T.broadcast(0, 4)
            for l4 in range(lines // LINES_MULTIPLE):
                for l in T.unroll(LINES_MULTIPLE):
                    for r in T.unroll(4):
                        quarter = T.meta_var(W.vload([0, l4 * LINES_MULTIPLE + l, r * 4, 0], "uint8x16"))
                        four = T.meta_var(X.vload([0, l4 * LINES_MULTIPLE + l, 0, 0], "int8x16"))
                        for g in T.unroll(3):
                            fields[g, vector(r * 4, 4)] = _sdot(
                                fields[g, vector(r * 4, 4)], _field_in_place(quarter, g), _lane(four, g)
                            )
                        fields[0, vector(r * 4, 4)] = _sdot(
                            fields[0, vector(r * 4, 4)], _field(quarter, 3), _lane(four, 3)
                        )
            for r in T.unroll(4):
                for g in T.unroll(3):
                    C[0, 0, vector(r * 4, 4)] = C[0, 0, vector(r * 4, 4)] + T.shift_right(
                        fields[g, vector(r * 4, 4)], T.broadcast(g * 2, 4)
                    )

    return product.with_attr("global_symbol", "gemv_u16_16x1_dotprod")


@cache
def gemm_micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """16 accumulators: a decoded quarter meets all tokens; their activations meet one half of each line, then
    the other (of at most 4 tokens, whole lines).
    """
    quarters = 4 if tile.tokens <= 4 else 2
    passes = 4 // quarters

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0 : tile.tokens, 0:16], W[0, 0:lines, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0, 0 : tile.tokens, 0:16])
            sums = T.alloc_buffer((tile.tokens, quarters, 4), "int32", scope="global")
            for p in range(passes):
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        sums[m, r, vector(0, 4)] = T.broadcast(0, 4)
                first: T.let = T.address_of(W[0, 0, p * quarters * 4, 0])
                V = T.decl_buffer((lines, 16, 4), "uint8", data=first)
                for l in range(lines):
                    for r in T.unroll(quarters):
                        for g in T.unroll(4):
                            for m in T.unroll(tile.tokens):
                                sums[m, r, vector(0, 4)] = _sdot(
                                    sums[m, r, vector(0, 4)],
                                    _field(V.vload([l, r * 4, 0], "uint8x16"), g),
                                    _lane(X.vload([m, l, 0, 0], "int8x16"), g),
                                )
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        C[0, m, vector((p * quarters + r) * 4, 4)] = (
                            C[0, m, vector((p * quarters + r) * 4, 4)] + sums[m, r, vector(0, 4)]
                        )

    return product.with_attr("global_symbol", f"gemm_u16_16x{tile.tokens}_dotprod")


@cache
def panel_micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """16 accumulators, as in ``gemm_micro_kernel``."""
    quarters = 4 if tile.tokens <= 4 else 2
    passes = 4 // quarters

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(codes: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        stride = T.int32()
        P = T.match_buffer(codes, (lines, 4, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", strides=[stride, 16, 4, 1], offset_factor=1)
        C = T.match_buffer(acc, (tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0 : tile.tokens, 0:16], P[0:lines, 0:4, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0 : tile.tokens, 0:16])
            sums = T.alloc_buffer((tile.tokens, quarters, 4), "int32", scope="global")
            for p in range(passes):
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        sums[m, r, vector(0, 4)] = C[m, vector((p * quarters + r) * 4, 4)]
                first: T.let = T.address_of(P[0, 0, p * quarters * 4, 0])
                V = T.decl_buffer((lines, 4, 16, 4), "uint8", data=first)
                for l in range(lines):
                    for g in T.unroll(4):
                        for r in T.unroll(quarters):
                            for m in T.unroll(tile.tokens):
                                sums[m, r, vector(0, 4)] = _sdot(
                                    sums[m, r, vector(0, 4)],
                                    V.vload([l, g, r * 4, 0], "uint8x16"),
                                    _lane(X.vload([m, l, 0, 0], "int8x16"), g),
                                )
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        C[m, vector((p * quarters + r) * 4, 4)] = sums[m, r, vector(0, 4)]

    return product.with_attr("global_symbol", f"panel_u16_16x{tile.tokens}_dotprod")


PANEL = Panel(fewest=17, tokens=8, window=32, micro_kernel=panel_micro_kernel)
"""For three tiles and more: two decode for less than the panel's stores."""


def _sdot(acc: Expr, codes: Expr, q: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32x4, uint8x16 below 128, int8x16."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8")
    signed = T.reinterpret(codes, dtype="int8x16")
    return T.call_llvm_pure_intrin(intrinsic, acc, signed, q, dtype="int32x4")


def _field_in_place(quarter: Expr, field: Expr) -> Expr:
    return T.bitwise_and(quarter, T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), 16))


def _field(quarter: Expr, field: Expr) -> Expr:
    shifted = T.shift_right(quarter, T.broadcast(T.cast(field * 2, "uint8"), 16))
    return T.bitwise_and(shifted, T.broadcast(T.uint8(3), 16))


def _lane(q: Expr, field: Expr) -> Expr:
    """The four activations of a field, for all 4 rows: LLVM folds this into the lane operand of sdot."""
    return T.reinterpret(
        T.broadcast(T.Shuffle([T.reinterpret(q, dtype="int32x4")], [field]), 4), dtype="int8x16"
    )
