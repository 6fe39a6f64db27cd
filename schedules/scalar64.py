"""Ternary products for 64-bit processors without vectors: one multiplication for two rows.

Eight bytes of a line are two rows of four bytes. Shifted and masked, they are one code of each row, 32 bits
apart; times an activation that is a product in each half, the upper one less a borrow if the lower one is
negative. Sums are split in the end: the lower half is its own sum, and what is left without it is the upper
one's. Products lie in [-384, 381], so K < 2^22.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr
from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile

PAIRS = 8
"""Of rows in a block."""

GEMM_TILE = Tile(blocks=1, tokens=2)


def ternary_gemv_u16_16x1_scalar64(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), _micro_kernel, epilogue)


def ternary_gemm_u16_16x2_scalar64(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """A decoded pair meets 2 tokens."""
    return ternary_product(GEMM_TILE, _micro_kernel, epilogue)


@cache
def _micro_kernel(tile: Tile) -> tirx.PrimFunc:
    pairs = min(tile.tokens, 2)  # at a time: with more LLVM spills

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
            sums = T.alloc_buffer((tile.tokens, pairs), "int64", scope="global")
            for first in range(PAIRS // pairs):
                for m in T.unroll(tile.tokens):
                    for p in T.unroll(pairs):
                        sums[m, p] = T.int64(0)
                words: T.let = T.reinterpret(T.address_of(W[0, 0, first * pairs * 2, 0]), dtype="handle")
                V = T.decl_buffer((lines, PAIRS), "uint64", data=words)
                for l in range(lines):
                    for g in T.unroll(4):
                        for j in T.unroll(4):
                            for p in T.unroll(pairs):
                                for m in T.unroll(tile.tokens):
                                    sums[m, p] = sums[m, p] + _codes(V[l, p], j * 8 + g * 2) * T.cast(
                                        X[m, l, g, j], "int64"
                                    )
                for m in T.unroll(tile.tokens):
                    for p in T.unroll(pairs):
                        row = T.meta_var((first * pairs + p) * 2)
                        C[0, m, row] = C[0, m, row] + T.cast(sums[m, p], "int32")
                        C[0, m, row + 1] = C[0, m, row + 1] + _upper(sums[m, p])

    return micro_kernel.with_attr("global_symbol", f"product_u16_16x{tile.tokens}_scalar64")


def _codes(pair: Expr, bit: Expr) -> Expr:
    """The codes of two rows, 32 bits apart."""
    mask = T.uint64(0x0000000300000003)
    return T.cast(T.bitwise_and(T.shift_right(pair, T.cast(bit, "uint64")), mask), "int64")


def _upper(sums: Expr) -> Expr:
    lower = T.cast(T.cast(sums, "int32"), "int64")
    return T.cast(T.shift_right(sums - lower, T.int64(32)), "int32")
