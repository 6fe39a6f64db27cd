"""Kernel `head_screen` for AVX2: ``vpmaddubsw``, 32 codes (u8) with 32 bytes of a state (i8) into pair sums.

With codes of at most 63 and -128 <= z <= 127 a pair sum lies in [-16128, 16002]: two of them fit int16 before
they are widened. Bytes of coefficients reach 255, where it would saturate: they are widened first.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr, vector
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier

LANES = 8
HALF = 32
"""Bytes of a register."""

PREFETCH_DISTANCE = 96
"""Lines."""


def head_screen_avx2(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, _coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_avx2(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
            acc = T.alloc_buffer((2, LANES), "int32", scope="global")
            lanes = T.alloc_buffer((2, FEW, LANES), "int32", scope="global")
            for i in range(FEW):
                for line in T.unroll(2):
                    prefetch(P[0, i, line + PREFETCH_DISTANCE, 0], Cache.L2)
                for plane in T.unroll(2):
                    acc[plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g in range(groups):
                    for line in T.unroll(lines):
                        prefetch(P[0, i, 2 + g * lines + line + PREFETCH_DISTANCE, 0], Cache.L2)
                    for h in T.unroll(2):
                        for pair in T.unroll(2):
                            for plane in T.unroll(2):
                                acc[plane, vector(0, LANES)] = acc[plane, vector(0, LANES)] + _widened(
                                    _products(codes, P, Z, i, plane, g, pair * 2, h)
                                    + _products(codes, P, Z, i, plane, g, pair * 2 + 1, h)
                                )
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = acc[plane, vector(0, LANES)]
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_avx2


def _coefficients(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def coefficients_avx2(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
        groups = T.int32()
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        G = T.match_buffer(gamma, (2, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0:2, 0:FEW], P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE], G[0:2, 0:LINE])
            T.writes(C[0, 0:2, 0:FEW])
            for half in T.unroll(2):
                C[0, half, vector(0, FEW)] = C[0, half, vector(0, FEW)] + sum_four(
                    *[_scaled(P, G, k, half) for k in range(FEW)]
                )

    return coefficients_avx2


def _products(
    codes: Codes, rows: Expr, state: Expr, row: Expr, plane: Expr, group: Expr, part: Expr, half: Expr
) -> Expr:
    """Pair sums of the codes of 32 columns of a part: int16x16."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx2.pmadd.ub.sw")
    z = state.vload([plane, group, part, half * HALF], "int8x32")
    return T.call_llvm_pure_intrin(
        intrinsic, _decode(codes, rows, row, group, part, half), z, dtype="int16x16"
    )


def _decode(codes: Codes, rows: Expr, row: Expr, group: Expr, part: Expr, half: Expr) -> Expr:
    """Codes of 32 columns of a part; the masks cut off what crosses a byte."""
    first = 2 + group * codes.lines
    line = rows.vload([0, row, first + part // 2, half * HALF], "uint8x32")
    nibbles = _shift(T.shift_right, line, part % 2 * 4)
    if not codes.has_crumbs:
        return T.bitwise_and(nibbles, T.broadcast(T.uint8(15), HALF))
    high = _shift(T.shift_left, nibbles, 2)
    low = _shift(T.shift_right, rows.vload([0, row, first + 2, half * HALF], "uint8x32"), part * 2)
    return T.bitwise_or(
        T.bitwise_and(high, T.broadcast(T.uint8(60), HALF)), T.bitwise_and(low, T.broadcast(T.uint8(3), HALF))
    )


def _shift(direction: Callable[[Expr, Expr], Expr], line: Expr, bits: Expr) -> Expr:
    words = direction(T.reinterpret(line, dtype="uint32x8"), T.broadcast(T.cast(bits, "uint32"), LANES))
    return T.reinterpret(words, dtype="uint8x32")


def _widened(pairs: Expr) -> Expr:
    return _multiply_add(pairs, T.broadcast(T.int16(1), 16))


def _multiply_add(a: Expr, b: Expr) -> Expr:
    """``a[2 i] * b[2 i] + a[2 i + 1] * b[2 i + 1]``: int16x16 -> int32x8."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx2.pmadd.wd")
    return T.call_llvm_pure_intrin(intrinsic, a, b, dtype="int32x8")


def _scaled(rows: Expr, gamma: Expr, row: Expr, half: int) -> Expr:
    """256 · (bytes of coefficients by high bytes of γ) + (the same by low bytes), in 8 lanes."""
    planes = []
    for plane in range(2):
        sums = [
            _multiply_add(
                T.cast(rows.vload([0, row, half, quarter * 16], "uint8x16"), "int16x16"),
                T.cast(gamma.vload([plane, quarter * 16], "int8x16"), "int16x16"),
            )
            for quarter in range(4)
        ]
        planes.append((sums[0] + sums[1]) + (sums[2] + sums[3]))
    return T.shift_left(planes[0], T.broadcast(8, LANES)) + planes[1]
