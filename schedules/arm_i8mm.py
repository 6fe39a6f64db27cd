"""Ternary products for arm64 with i8mm: ``smmla``, two rows by eight codes with two tokens into 2 x 2 int32.

A line of U16 weights is four q registers (*quarters*) of 4 rows. A byte holds four fields of one row, so a
row's eight codes for smmla are two fields of its four bytes, which meet eight activations that lie side by
side: the first two fields the first half of a line's activations, the last two the other. A product with one
vector has no second token for it: GEMV is that of dotprod. Accumulators are int32: |acc| <= 16 * 2 * 128 * K,
so K < 2^19.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .arm_dotprod import gemm_micro_kernel
from .float_ops import Expr, vector
from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile

GEMM_TILE = Tile(blocks=1, tokens=8)


def ternary_gemm_u16_16x8_i8mm(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(GEMM_TILE, _micro_kernel, epilogue)


@cache
def _micro_kernel(tile: Tile) -> tirx.PrimFunc:
    """16 accumulators, each of two rows and two tokens. Large tiles meet one half of each line, then the
    other; an odd token is its own partner.
    """
    if tile.tokens == 1:
        return gemm_micro_kernel(tile)
    pairs = (tile.tokens + 1) // 2
    quarters = 4 if pairs <= 2 else 2
    passes = 4 // quarters

    def second(pair: Expr) -> Expr:
        """The other token of a pair."""
        return T.min(pair * 2 + 1, tile.tokens - 1)

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
            sums = T.alloc_buffer((pairs, quarters, 2, 4), "int32", scope="global")  # [..][rows 0-1, 2-3]
            for p in range(passes):
                for m in T.unroll(pairs):
                    for r in T.unroll(quarters):
                        for h in T.unroll(2):
                            sums[m, r, h, vector(0, 4)] = T.broadcast(0, 4)
                first: T.let = T.address_of(W[0, 0, p * quarters * 4, 0])
                V = T.decl_buffer((lines, 16, 4), "uint8", data=first)
                for l in range(lines):
                    for r in T.unroll(quarters):
                        for h in T.unroll(2):
                            for f in T.unroll(2):
                                for m in T.unroll(pairs):
                                    sums[m, r, h, vector(0, 4)] = _smmla(
                                        sums[m, r, h, vector(0, 4)],
                                        _halves(
                                            X.vload([m * 2, l, 0, 0], "int8x16"),
                                            X.vload([second(m), l, 0, 0], "int8x16"),
                                            f,
                                        ),
                                        _two_rows(V.vload([l, r * 4, 0], "uint8x16"), f, h),
                                    )
                for m in T.unroll(tile.tokens):
                    for r in T.unroll(quarters):
                        C[0, m, vector((p * quarters + r) * 4, 4)] = C[
                            0, m, vector((p * quarters + r) * 4, 4)
                        ] + _token(sums[m // 2, r, 0, vector(0, 4)], sums[m // 2, r, 1, vector(0, 4)], m % 2)

    return product.with_attr("global_symbol", f"gemm_u16_16x{tile.tokens}_i8mm")


def _smmla(acc: Expr, q: Expr, codes: Expr) -> Expr:
    """``acc[2 i + j] + sum over k < 8 of q[8 i + k] * codes[8 j + k]``: int32x4, int8x16 twice."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.smmla.v4i32.v16i8")
    return T.call_llvm_pure_intrin(intrinsic, acc, q, codes, dtype="int32x4")


def _halves(x: Expr, y: Expr, half: Expr) -> Expr:
    """The lower (0) or upper (1) eight activations of two tokens, one after the other."""
    eights = [T.reinterpret(token, dtype="int64x2") for token in (x, y)]
    return T.reinterpret(T.Shuffle(eights, [half, half + 2]), dtype="int8x16")


def _two_rows(quarter: Expr, fields: Expr, rows: Expr) -> Expr:
    """Fields 0 and 1 (0) or 2 and 3 (1) of rows 0 and 1 (0) or 2 and 3 (1): eight codes for each row."""
    shifted = T.shift_right(quarter, T.broadcast(T.uint8(2), 16))
    words = [T.reinterpret(register, dtype="int32x4") for register in (quarter, shifted)]
    first = rows * 2
    paired = T.reinterpret(T.Shuffle(words, [first, first + 4, first + 1, first + 5]), dtype="uint8x16")
    codes = T.bitwise_and(
        T.shift_right(paired, T.broadcast(T.cast(fields * 4, "uint8"), 16)), T.broadcast(T.uint8(3), 16)
    )
    return T.reinterpret(codes, dtype="int8x16")


def _token(low: Expr, high: Expr, token: Expr) -> Expr:
    """Rows 0 to 3 of one of the two tokens of a pair of accumulators."""
    pairs = [T.reinterpret(register, dtype="int64x2") for register in (low, high)]
    return T.reinterpret(T.Shuffle(pairs, [token, token + 2]), dtype="int32x4")
