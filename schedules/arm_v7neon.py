"""Ternary products for 32-bit ARM with NEON: ``vmlal.s8`` multiplies 8 codes with 8 activations into int16.

As in arm_neon, with half the registers: a line of U16 weights is four q registers (*quarters*) of 4 rows, a
lane of an accumulator is one (row, byte) and takes one product for each field of a line. It is widened after
a *window* of 32 lines: with codes of at most 2 and -128 <= q <= 127 a product lies in [-256, 254], and 32 * 4
of them in [-32768, 32512].

NEON of 32-bit ARM rounds denormals to zero. Vectors here are integers only; the epilogue takes one float
after the other, in registers of VFP.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile

WINDOW = 32
"""Lines."""

FLOATS = 1
"""Lanes of the epilogue."""

GEMM_TILE = Tile(blocks=1, tokens=3)


def ternary_gemv_u16_16x1_armv7neon(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """4 accumulators of int16: one half of each line of a window, then the other. With 8, of 16 registers,
    LLVM spills.
    """
    return ternary_product(Tile(blocks=1, tokens=1), _micro_kernel, epilogue, FLOATS)


def ternary_gemm_u16_16x3_armv7neon(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """6 accumulators: a decoded register meets 3 tokens, one quarter of each line after the other."""
    return ternary_product(GEMM_TILE, _micro_kernel, epilogue, FLOATS)


@cache
def _micro_kernel(tile: Tile) -> tirx.PrimFunc:
    quarters = 2 if tile.tokens == 1 else 1
    passes = 4 // quarters

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
            lanes = T.alloc_buffer((tile.tokens, quarters, 2, 8), "int16", scope="global")  # [..][half]
            for window, p in T.grid(T.ceildiv(lines, WINDOW), passes):
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        for h in T.unroll(2):
                            lanes[m, r, h, vector(0, 8)] = T.broadcast(T.int16(0), 8)
                first: T.let = T.address_of(W[0, window * WINDOW, p * quarters * 4, 0])
                V = T.decl_buffer((lines, 16, 4), "uint8", data=first)
                for l in range(T.min(lines - window * WINDOW, WINDOW)):
                    for g in T.unroll(4):
                        for r in T.unroll(quarters):
                            codes: T.let = _field(V.vload([l, r * 4, 0], "uint8x16"), g)
                            for m in T.unroll(tile.tokens):
                                eight: T.let = _twice(X.vload([m, window * WINDOW + l, g, 0], "int8x4"))
                                lanes[m, r, 0, vector(0, 8)] = lanes[m, r, 0, vector(0, 8)] + vmull(
                                    T.vectorlow(codes, dtype="int8x8"), eight
                                )
                                lanes[m, r, 1, vector(0, 8)] = lanes[m, r, 1, vector(0, 8)] + vmull(
                                    T.vectorhigh(codes, dtype="int8x8"), eight
                                )
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        C[0, m, vector((p * quarters + r) * 4, 4)] = C[
                            0, m, vector((p * quarters + r) * 4, 4)
                        ] + _sum_rows(lanes[m, r, 0, vector(0, 8)], lanes[m, r, 1, vector(0, 8)])

    return micro_kernel.with_attr("global_symbol", f"product_u16_16x{tile.tokens}_armv7neon")


def _field(quarter: Expr, field: Expr) -> Expr:
    shifted = T.shift_right(quarter, T.broadcast(T.cast(field * 2, "uint8"), 16))
    return T.reinterpret(T.bitwise_and(shifted, T.broadcast(T.uint8(3), 16)), dtype="int8x16")


def _twice(q: Expr) -> Expr:
    """Four activations, for both rows of a d register."""
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), 2), dtype="int8x8")


def vmull(codes: Expr, q: Expr) -> Expr:
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vmulls.v8i16")
    return T.call_llvm_pure_intrin(intrinsic, codes, q, dtype="int16x8")


def _sum_rows(low: Expr, high: Expr) -> Expr:
    """Four int16 lanes of each row -> one int32: two rows in ``low``, two in ``high``."""
    return T.vectorcombine(_sum_two_rows(low), _sum_two_rows(high), dtype="int32x4")


def _sum_two_rows(lanes: Expr) -> Expr:
    widen = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpaddls.v4i32.v8i16")
    pairwise = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpadd.v2i32")
    pairs = T.call_llvm_pure_intrin(widen, lanes, dtype="int32x4")
    return T.call_llvm_pure_intrin(
        pairwise,
        T.vectorlow(pairs, dtype="int32x2"),
        T.vectorhigh(pairs, dtype="int32x2"),
        dtype="int32x2",
    )
