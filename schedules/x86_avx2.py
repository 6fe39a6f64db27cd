"""Ternary products for AVX2: ``vpmaddubsw``, 32 codes (u8) with 32 activations (i8) into 16 pair sums (i16).

A line of U16 weights is two ymm registers of 8 rows. Pair sums are accumulated in int16 over a *window* of
lines, then widened. Overflow is impossible: with codes of at most 2 and -128 <= q <= 127 a pair sum lies in
[-512, 508], a lane of an accumulator takes ``n`` of them, and for n = 64 the range is [-32768, 32512].
``vpmaddubsw`` itself saturates at 32767 only.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .ternary import LINES_MULTIPLE, Cache, Tile, prefetch, ternary_product
from .tier import Tier

GEMV_WINDOW = 8
"""Lines: 2 fields a line, of which one is left at four times its value: 8 * 2 * 4 = 64 pair sums."""

GEMM_WINDOW = 16
"""Lines: 4 fields a line, all at their value: 16 * 4 = 64 pair sums."""

PREFETCH_DISTANCE = 64
"""Lines, 4 KB: the hardware stops at pages. Zen 3 reaches 89 % of its read bandwidth, 69 % without."""

GEMM_TILE = Tile(blocks=1, tokens=5)


def ternary_gemv_u16_16x1_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), _gemv_micro_kernel, epilogue)


def ternary_gemm_u16_16x5_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """10 accumulators of int16: a decoded register meets 5 tokens, four activations meet both halves."""
    return ternary_product(GEMM_TILE, _gemm_micro_kernel, epilogue)


@cache
def _gemv_micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """Fields 0, 1 where they are and 2, 3 after one shift by 4; fields 1, 3 count fourfold until the end."""

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (1, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, 1, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0, 0:16], W[0, 0:lines, 0:16, 0:4], X[0, 0:lines, 0:4, 0:4])
            T.writes(C[0, 0, 0:16])
            pairs = T.alloc_buffer((2, 2, 16), "int16", scope="global")  # [rows 0-7, 8-15][x1, x4]
            for window in range(T.ceildiv(lines, GEMV_WINDOW)):
                for h in T.unroll(2):
                    for s in T.unroll(2):
                        pairs[h, s, vector(0, 16)] = T.broadcast(T.int16(0), 16)
                for l4 in range(T.min(lines - window * GEMV_WINDOW, GEMV_WINDOW) // LINES_MULTIPLE):
                    for l in T.unroll(LINES_MULTIPLE):
                        line = T.meta_var(window * GEMV_WINDOW + l4 * LINES_MULTIPLE + l)
                        prefetch(W[0, line + PREFETCH_DISTANCE, 0, 0], Cache.L1)
                        for h in T.unroll(2):
                            half = T.meta_var(W.vload([0, line, h * 8, 0], "uint8x32"))
                            for p in T.unroll(2):
                                for s in T.unroll(2):
                                    pairs[h, s, vector(0, 16)] = pairs[h, s, vector(0, 16)] + _vpmaddubsw(
                                        T.bitwise_and(_shifted(half, p * 4), _field_mask(s)),
                                        _four_everywhere(X.vload([0, line, p * 2 + s, 0], "int8x4")),
                                    )
                for h in T.unroll(2):
                    C[0, 0, vector(h * 8, 8)] = (
                        C[0, 0, vector(h * 8, 8)]
                        + _sum_pairs(pairs[h, 0, vector(0, 16)])
                        + T.shift_right(_sum_pairs(pairs[h, 1, vector(0, 16)]), T.broadcast(2, 8))
                    )

    return product.with_attr("global_symbol", "gemv_u16_16x1_avx2")


@cache
def _gemm_micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """A large tile passes over a window once for each field: with all fields in one loop LLVM sums pair sums
    before it adds them, and spills. The next block is prefetched meanwhile.
    """
    fields = 4 if tile.tokens <= 3 else 1
    passes = 4 // fields

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
            pairs = T.alloc_buffer((2, tile.tokens, 16), "int16", scope="global")
            for window in range(T.ceildiv(lines, GEMM_WINDOW)):
                for h in T.unroll(2):
                    for m in T.unroll(tile.tokens):
                        pairs[h, m, vector(0, 16)] = T.broadcast(T.int16(0), 16)
                for p in range(passes):
                    # With the field in the index instead LLVM computes every address anew, and spills.
                    first: T.let = T.address_of(X[0, window * GEMM_WINDOW, p * fields, 0])
                    Q = T.decl_buffer((tile.tokens, lines, 4, 4), "int8", data=first)
                    for l in range(T.min(lines - window * GEMM_WINDOW, GEMM_WINDOW)):
                        prefetch(W[1, window * GEMM_WINDOW + (p * GEMM_WINDOW + l) // passes, 0, 0], Cache.L2)
                        for f in T.unroll(fields):
                            for m in T.unroll(tile.tokens):
                                four: T.let = _four_everywhere(Q.vload([m, l, f, 0], "int8x4"))
                                for h in T.unroll(2):
                                    half: T.let = W.vload([0, window * GEMM_WINDOW + l, h * 8, 0], "uint8x32")
                                    pairs[h, m, vector(0, 16)] = pairs[h, m, vector(0, 16)] + _vpmaddubsw(
                                        T.bitwise_and(_shifted(half, (p * fields + f) * 2), _field_mask(0)),
                                        four,
                                    )
                for h in T.unroll(2):
                    for m in T.unroll(tile.tokens):
                        C[0, m, vector(h * 8, 8)] = C[0, m, vector(h * 8, 8)] + _sum_pairs(
                            pairs[h, m, vector(0, 16)]
                        )

    return product.with_attr("global_symbol", f"gemm_u16_16x{tile.tokens}_avx2")


def _vpmaddubsw(codes: Expr, q: Expr) -> Expr:
    """``codes[2 i] * q[2 i] + codes[2 i + 1] * q[2 i + 1]``: uint8x32, int8x32 -> int16x16."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx2.pmadd.ub.sw")
    return T.call_llvm_pure_intrin(intrinsic, codes, q, dtype="int16x16")


def _sum_pairs(pairs: Expr) -> Expr:
    """The two int16 lanes of each row -> one int32 (vpmaddwd with ones)."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx2.pmadd.wd")
    return T.call_llvm_pure_intrin(intrinsic, pairs, T.broadcast(T.int16(1), 16), dtype="int32x8")


def _shifted(half_line: Expr, bits: Expr) -> Expr:
    """Fields moved down by an even number of bits; the mask that follows cuts what crosses a byte."""
    words = T.reinterpret(half_line, dtype="uint16x16")
    return T.reinterpret(T.shift_right(words, T.broadcast(T.cast(bits, "uint16"), 16)), dtype="uint8x32")


def _field_mask(field: Expr) -> Expr:
    return T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), 32)


def _four_everywhere(q: Expr) -> Expr:
    """Four activations, for all 8 rows of a half line."""
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), 8), dtype="int8x32")
