"""Ternary products without intrinsics, for any CPU: vector expressions over a *quarter* (4 rows) of a line.

A lane of an accumulator is one (row, byte) of a quarter. Products are accumulated in int16 over a *window* of
32 lines, then widened. Overflow is impossible: with codes of at most 2 and -128 <= q <= 127 a product lies in
[-256, 254], a line adds one for each of its 4 fields, and 32 * 4 of them lie in [-32768, 32512].
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

GEMM_TILE = Tile(blocks=1, tokens=4)


def ternary_gemv_u16_16x1_portable(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), _micro_kernel, epilogue)


def ternary_gemm_u16_16x4_portable(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """A decoded quarter meets 4 tokens."""
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
            lanes = T.alloc_buffer((tile.tokens, 16), "int16", scope="global")
            for window, r in T.grid(T.ceildiv(lines, WINDOW), 4):
                for m in T.unroll(tile.tokens):
                    lanes[m, vector(0, 16)] = T.broadcast(T.int16(0), 16)
                for l in range(T.min(lines - window * WINDOW, WINDOW)):
                    for g in T.unroll(4):
                        for m in T.unroll(tile.tokens):
                            lanes[m, vector(0, 16)] = lanes[m, vector(0, 16)] + _field(
                                W.vload([0, window * WINDOW + l, r * 4, 0], "uint8x16"), g
                            ) * _four_everywhere(X.vload([m, window * WINDOW + l, g, 0], "int8x4"))
                for m in T.unroll(tile.tokens):
                    C[0, m, vector(r * 4, 4)] = C[0, m, vector(r * 4, 4)] + _sum_rows(lanes[m, vector(0, 16)])

    return micro_kernel.with_attr("global_symbol", f"product_u16_16x{tile.tokens}_portable")


def _field(quarter: Expr, field: Expr) -> Expr:
    shifted = T.shift_right(quarter, T.broadcast(T.cast(field * 2, "uint8"), 16))
    return T.cast(T.bitwise_and(shifted, T.broadcast(T.uint8(3), 16)), "int16x16")


def _four_everywhere(q: Expr) -> Expr:
    """Four activations, for all 4 rows of a quarter."""
    bytes_ = T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), 4), dtype="int8x16")
    return T.cast(bytes_, "int16x16")


def _sum_rows(lanes: Expr) -> Expr:
    """Four int16 lanes of each row -> one int32."""
    first, second, third, fourth = (
        T.cast(T.Shuffle([lanes], [byte, byte + 4, byte + 8, byte + 12]), "int32x4") for byte in range(4)
    )
    return (first + second) + (third + fourth)
