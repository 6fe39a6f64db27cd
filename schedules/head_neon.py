"""Kernel `head_screen` for armv8.0: ``smull`` and ``smlal``, 8 codes with 8 bytes of a state into 8 int16.

A lane takes one product for each part of a group before it is widened: with codes of at most 63 and
-128 <= z <= 127 the sum lies in [-32256, 32004].
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, fence, vector
from .head_portable import coefficients
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_neon(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_neon(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
            lanes = T.alloc_buffer((2, FEW, LANES), "int32", scope="global")
            acc = T.alloc_buffer((2, LANES), "int32", scope="global")
            for i in range(FEW):
                for plane in T.unroll(2):
                    acc[plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g in range(groups):
                    for quarter in T.unroll(LINE // QUARTER):
                        for plane in T.unroll(2):
                            acc[plane, vector(0, LANES)] = (
                                acc[plane, vector(0, LANES)]
                                + _half_group(codes, P, Z, i, plane, g, quarter, 0)
                            ) + _half_group(codes, P, Z, i, plane, g, quarter, 1)
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = acc[plane, vector(0, LANES)]
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_neon


def decode(codes: Codes, rows: Expr, row: Expr, group: Expr, part: Expr, quarter: Expr) -> Expr:
    """Codes of 16 columns of a part: uint8x16."""
    first = 2 + group * codes.lines
    nibbles = _right(rows.vload([0, row, first + part // 2, quarter * QUARTER], "uint8x16"), part % 2 * 4)
    if not codes.has_crumbs:
        return T.bitwise_and(nibbles, T.broadcast(T.uint8(15), QUARTER))
    high = T.shift_left(nibbles, T.broadcast(T.uint8(2), QUARTER))
    low = _right(rows.vload([0, row, first + 2, quarter * QUARTER], "uint8x16"), part * 2)
    return T.bitwise_or(
        T.bitwise_and(high, T.broadcast(T.uint8(60), QUARTER)),
        T.bitwise_and(low, T.broadcast(T.uint8(3), QUARTER)),
    )


def _right(line: Expr, bits: Expr) -> Expr:
    return T.shift_right(line, T.broadcast(T.cast(bits, "uint8"), QUARTER))


def _half_group(
    codes: Codes, rows: Expr, state: Expr, row: Expr, plane: Expr, group: Expr, quarter: Expr, half: int
) -> Expr:
    """Products of 8 of 16 columns of all parts, summed to int32x4."""
    a, b, c, d = (
        _products(codes, rows, state, row, plane, group, part, quarter, half) for part in range(PARTS)
    )
    return _pairwise(((a + b) + c) + d)


def _products(
    codes: Codes,
    rows: Expr,
    state: Expr,
    row: Expr,
    plane: Expr,
    group: Expr,
    part: int,
    quarter: Expr,
    half: int,
) -> Expr:
    """Of 8 of 16 columns of a part: int16x8."""
    u = _half(_opaque(decode(codes, rows, row, group, part, quarter)), half)
    z = _half(_opaque(state.vload([plane, group, part, quarter * QUARTER], "int8x16")), half)
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.smull.v8i16")
    return T.call_llvm_pure_intrin(intrinsic, u, z, dtype="int16x8")


def _half(register: Expr, half: int) -> Expr:
    return T.vectorhigh(register, dtype="int8x8") if half else T.vectorlow(register, dtype="int8x8")


def _opaque(register: Expr) -> Expr:
    """Keeps LLVM from halving what computes a q register, which would cost smull2 its operands."""
    return T.reinterpret(fence(T.reinterpret(register, dtype="float32x4")), dtype="int8x16")


def _pairwise(lanes: Expr) -> Expr:
    """Neighbours summed, int16x8 -> int32x4; with an addition it is ``sadalp``."""
    widen = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.saddlp.v4i32.v8i16")
    return T.call_llvm_pure_intrin(widen, lanes, dtype="int32x4")
