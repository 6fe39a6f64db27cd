"""Ternary products for armv8.0: ``smlal`` multiplies 8 codes with 8 activations and adds to 8 int16 lanes.

A line of U16 weights is four q registers (*quarters*) of 4 rows. A lane of an accumulator is one (row, byte):
a line adds one product for each of its 4 fields to it. Products are accumulated in int16 over a *window* of
32 lines, then widened. Overflow is impossible: with codes of at most 2 and -128 <= q <= 127 a product lies in
[-256, 254], and 32 * 4 of them in [-32768, 32512].
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, fence, vector
from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile

WINDOW = 32
"""Lines."""

GEMM_TILE = Tile(blocks=1, tokens=2)


def ternary_gemv_u16_16x1_neon(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """8 accumulators of int16."""
    return ternary_product(Tile(blocks=1, tokens=1), _micro_kernel, epilogue)


def ternary_gemm_u16_16x2_neon(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """16 accumulators of int16: a decoded register meets 2 tokens. With 3 tokens LLVM spills."""
    return ternary_product(GEMM_TILE, _micro_kernel, epilogue)


@cache
def _micro_kernel(tile: Tile) -> tirx.PrimFunc:
    @T.prim_func(s_tir=True, check_well_formed=False)
    def micro_kernel(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(
                C[0, 0 : tile.tokens, 0:16], W[0, 0:lines, 0:16, 0:4], X[0 : tile.tokens, 0:lines, 0:4, 0:4]
            )
            T.writes(C[0, 0 : tile.tokens, 0:16])
            lanes = T.alloc_buffer((tile.tokens, 4, 2, 8), "int16", scope="global")  # [..][quarter][half]
            for window in range(T.ceildiv(lines, WINDOW)):
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(4):
                        for h in T.unroll(2):
                            lanes[m, r, h, vector(0, 8)] = T.broadcast(T.int16(0), 8)
                for l in range(T.min(lines - window * WINDOW, WINDOW)):
                    for g in T.unroll(4):
                        for r in T.unroll(4):
                            for m in T.unroll(tile.tokens):
                                codes: T.let = _field(
                                    W.vload([0, window * WINDOW + l, r * 4, 0], "uint8x16"), g
                                )
                                four: T.let = _lane(X.vload([m, window * WINDOW + l, 0, 0], "int8x16"), g)
                                lanes[m, r, 0, vector(0, 8)] = lanes[m, r, 0, vector(0, 8)] + _smull(
                                    T.vectorlow(codes, dtype="int8x8"), T.vectorlow(four, dtype="int8x8")
                                )
                                lanes[m, r, 1, vector(0, 8)] = lanes[m, r, 1, vector(0, 8)] + _smull(
                                    T.vectorhigh(codes, dtype="int8x8"), T.vectorhigh(four, dtype="int8x8")
                                )
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(4):
                        C[0, m, vector(r * 4, 4)] = C[0, m, vector(r * 4, 4)] + _sum_rows(
                            lanes[m, r, 0, vector(0, 8)], lanes[m, r, 1, vector(0, 8)]
                        )

    return micro_kernel.with_attr("global_symbol", f"product_u16_16x{tile.tokens}_neon")


def _smull(codes: Expr, q: Expr) -> Expr:
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.smull.v8i16")
    return T.call_llvm_pure_intrin(intrinsic, codes, q, dtype="int16x8")


def _sum_rows(low: Expr, high: Expr) -> Expr:
    """Four int16 lanes of each row -> one int32: two rows in ``low``, two in ``high``."""
    widen = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.saddlp.v4i32.v8i16")
    pairwise = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.addp.v4i32")
    return T.call_llvm_pure_intrin(
        pairwise,
        T.call_llvm_pure_intrin(widen, low, dtype="int32x4"),
        T.call_llvm_pure_intrin(widen, high, dtype="int32x4"),
        dtype="int32x4",
    )


def _opaque(register: Expr) -> Expr:
    """Keeps LLVM from halving what computes a q register, which would cost smull2 its operands."""
    return T.reinterpret(fence(T.reinterpret(register, dtype="float32x4")), dtype="int8x16")


def _field(quarter: Expr, field: Expr) -> Expr:
    shifted = T.shift_right(quarter, T.broadcast(T.cast(field * 2, "uint8"), 16))
    return _opaque(T.bitwise_and(shifted, T.broadcast(T.uint8(3), 16)))


def _lane(q: Expr, field: Expr) -> Expr:
    """The four activations of a field, for all 4 rows of a quarter."""
    lane = T.Shuffle([T.reinterpret(q, dtype="int32x4")], [field])
    return _opaque(T.reinterpret(T.broadcast(lane, 4), dtype="int8x16"))
