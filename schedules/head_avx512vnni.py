"""Kernel `head_screen` for AVX512-VNNI: ``vpdpbusd``, a line of 64 codes with 64 bytes of a state.

Sums are int32: |Σ u6·z| ≤ W · 63 · 128, so W < 266,305; |Σ hi·γ| < 2³⁰ with both planes of γ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr, vector
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier
from .x86_avx512vnni import vpdpbusd

DotProduct: TypeAlias = Callable[[Expr, Expr, Expr], Expr]

LANES = 16
PREFETCH_DISTANCE = 96
"""Lines, into the second cache. One row after the other: on Zen 4 several rows at once, which would share a
load of z, are slower (their streams are too short for the hardware), and so are prefetches into the first
cache.
"""


def head_screen_avx512vnni(tier: Tier, bits: int, dot_product: DotProduct = vpdpbusd) -> tirx.PrimFunc:
    return screen(
        Products(lambda codes: _codes(codes, dot_product), lambda codes: _coefficients(codes, dot_product)),
        bits,
    )


def _codes(codes: Codes, dot_product: DotProduct) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_avx512vnni(rows: T.handle, state: T.handle, sums: T.handle) -> None:
        groups = T.int32()
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        Z = T.match_buffer(state, (2, groups, PARTS, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(
                C[0, 0:2, 0:FEW],
                P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE],
                Z[0:2, 0:groups, 0:PARTS, 0:LINE],
            )
            T.writes(C[0, 0:2, 0:FEW])
            acc = T.alloc_buffer((2, 2, LANES), "int32", scope="global")  # [parity of the part][plane]
            lanes = T.alloc_buffer((2, FEW, LANES), "int32", scope="global")
            for i in range(FEW):
                for line in T.unroll(2):
                    prefetch(P[0, i, line + PREFETCH_DISTANCE, 0], Cache.L2)
                for parity in T.unroll(2):
                    for plane in T.unroll(2):
                        acc[parity, plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g in range(groups):
                    for line in T.unroll(lines):
                        prefetch(P[0, i, 2 + g * lines + line + PREFETCH_DISTANCE, 0], Cache.L2)
                    for part in T.unroll(PARTS):
                        for plane in T.unroll(2):
                            acc[part % 2, plane, vector(0, LANES)] = dot_product(
                                acc[part % 2, plane, vector(0, LANES)],
                                _decode(codes, P, i, g, part),
                                Z.vload([plane, g, part, 0], "int8x64"),
                            )
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = (
                        acc[0, plane, vector(0, LANES)] + acc[1, plane, vector(0, LANES)]
                    )
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_avx512vnni


def _coefficients(codes: Codes, dot_product: DotProduct) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def coefficients_avx512vnni(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
        groups = T.int32()
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        G = T.match_buffer(gamma, (2, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0:2, 0:FEW], P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE], G[0:2, 0:LINE])
            T.writes(C[0, 0:2, 0:FEW])
            for half in T.unroll(2):
                C[0, half, vector(0, FEW)] = C[0, half, vector(0, FEW)] + sum_four(
                    *[_scaled(dot_product, P, G, k, half) for k in range(FEW)]
                )

    return coefficients_avx512vnni


def _scaled(dot_product: DotProduct, rows: Expr, gamma: Expr, row: Expr, half: int) -> Expr:
    """256 · (bytes of coefficients by high bytes of γ) + (the same by low bytes), in 16 lanes."""
    line = rows.vload([0, row, half, 0], "uint8x64")
    high = dot_product(T.broadcast(0, LANES), line, gamma.vload([0, 0], "int8x64"))
    return dot_product(T.shift_left(high, T.broadcast(8, LANES)), line, gamma.vload([1, 0], "int8x64"))


def _decode(codes: Codes, rows: Expr, row: Expr, group: Expr, part: Expr) -> Expr:
    """Codes of a part, uint8x64; the masks cut off what crosses a byte."""
    first = 2 + group * codes.lines
    nibbles = _shift(T.shift_right, rows.vload([0, row, first + part // 2, 0], "uint8x64"), part % 2 * 4)
    if not codes.has_crumbs:
        return T.bitwise_and(nibbles, T.broadcast(T.uint8(15), LINE))
    high = _shift(T.shift_left, nibbles, 2)
    low = _shift(T.shift_right, rows.vload([0, row, first + 2, 0], "uint8x64"), part * 2)
    return T.bitwise_or(
        T.bitwise_and(high, T.broadcast(T.uint8(60), LINE)), T.bitwise_and(low, T.broadcast(T.uint8(3), LINE))
    )


def _shift(direction: Callable[[Expr, Expr], Expr], line: Expr, bits: Expr) -> Expr:
    words = direction(T.reinterpret(line, dtype="uint32x16"), T.broadcast(T.cast(bits, "uint32"), LANES))
    return T.reinterpret(words, dtype="uint8x64")
