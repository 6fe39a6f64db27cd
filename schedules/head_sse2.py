"""Kernel `head_screen` for SSE2: ``pmaddwd``, 8 codes with 8 bytes of a state, both widened to int16.

A register of 16 columns is taken apart into its even and its odd ones, which costs less than into halves.
Several rows at once, which would share the widened states, spill: 16 registers are few.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_portable import coefficients
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_sse2(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_sse2(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
                for plane in T.unroll(2):
                    acc[plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g, quarter in T.grid(groups, LINE // QUARTER):
                    for part in T.unroll(PARTS):
                        for plane in T.unroll(2):
                            acc[plane, vector(0, LANES)] = acc[plane, vector(0, LANES)] + _products(
                                _decode(codes, P, i, g, part, quarter),
                                Z.vload([plane, g, part, quarter * QUARTER], "int8x16"),
                            )
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = acc[plane, vector(0, LANES)]
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_sse2


def _decode(codes: Codes, rows: Expr, row: Expr, group: Expr, part: Expr, quarter: Expr) -> Expr:
    """Codes of 16 columns of a part: uint8x16; the masks cut off what crosses a byte."""
    first = 2 + group * codes.lines
    line = rows.vload([0, row, first + part // 2, quarter * QUARTER], "uint8x16")
    nibbles = _shift(T.shift_right, line, part % 2 * 4)
    if not codes.has_crumbs:
        return T.bitwise_and(nibbles, T.broadcast(T.uint8(15), QUARTER))
    high = _shift(T.shift_left, nibbles, 2)
    low = _shift(T.shift_right, rows.vload([0, row, first + 2, quarter * QUARTER], "uint8x16"), part * 2)
    return T.bitwise_or(
        T.bitwise_and(high, T.broadcast(T.uint8(60), QUARTER)),
        T.bitwise_and(low, T.broadcast(T.uint8(3), QUARTER)),
    )


def _shift(direction: Callable[[Expr, Expr], Expr], line: Expr, bits: Expr) -> Expr:
    words = direction(T.reinterpret(line, dtype="uint32x4"), T.broadcast(T.cast(bits, "uint32"), LANES))
    return T.reinterpret(words, dtype="uint8x16")


def _products(codes: Expr, z: Expr) -> Expr:
    """The products of 16 columns, summed by fours: int32x4."""
    codes, z = T.reinterpret(codes, dtype="int16x8"), T.reinterpret(z, dtype="int16x8")
    byte = T.broadcast(T.int16(8), 8)
    even = _multiply_add(
        T.bitwise_and(codes, T.broadcast(T.int16(255), 8)), T.shift_right(T.shift_left(z, byte), byte)
    )
    return even + _multiply_add(T.shift_right(codes, byte), T.shift_right(z, byte))


def _multiply_add(a: Expr, b: Expr) -> Expr:
    """``a[2 i] * b[2 i] + a[2 i + 1] * b[2 i + 1]``: int16x8 -> int32x4."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.sse2.pmadd.wd")
    return T.call_llvm_pure_intrin(intrinsic, a, b, dtype="int32x4")
