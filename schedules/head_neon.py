"""Kernel `head_screen` for armv8.0: ``smull`` and ``smlal``, 8 codes with 8 bytes of a state into 8 int16.

A lane takes one product for each part of a group before it is widened: with codes of at most 63 and
-128 <= z <= 127 the sum lies in [-32256, 32004].
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, fence, vector
from .head_portable import coefficients
from .head_products import codes_kernel
from .head_screen import LINE, PARTS, Codes, Products, screen
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_neon(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for quarter in T.unroll(LINE // QUARTER):
            for plane in T.unroll(2):
                acc[0, plane, vector(0, LANES)] = (
                    acc[0, plane, vector(0, LANES)] + _half_group(codes, P, Z, i, plane, g, quarter, 0)
                ) + _half_group(codes, P, Z, i, plane, g, quarter, 1)

    return codes_kernel("neon", codes, LANES, group)


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
