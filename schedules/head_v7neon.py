"""Kernel `head_screen` for 32-bit ARM with NEON: its integers in vectors, its floats one at a time.

As in head_neon a lane takes one product for each part of a group before it is widened: with codes of at most
63 and -128 <= z <= 127 the sum lies in [-32256, 32004]. The bounds are computed for one row after the other:
NEON of 32-bit ARM would round their denormals to zero.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .arm_v7neon import vmull
from .float_ops import Expr, vector
from .head_neon import decode
from .head_portable import coefficients
from .head_products import codes_kernel
from .head_screen import LINE, PARTS, Codes, Products, screen
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_armv7neon(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits, lanes=1)


def _codes(codes: Codes) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for quarter in range(LINE // QUARTER):
            for plane in T.unroll(2):
                acc[0, plane, vector(0, LANES)] = (
                    acc[0, plane, vector(0, LANES)] + _half_group(codes, P, Z, i, plane, g, quarter, 0)
                ) + _half_group(codes, P, Z, i, plane, g, quarter, 1)

    return codes_kernel("armv7neon", codes, LANES, group)


def _half_group(
    codes: Codes, rows: Expr, state: Expr, row: Expr, plane: Expr, group: Expr, quarter: Expr, half: int
) -> Expr:
    """Products of 8 of 16 columns of all parts, summed to int32x4."""
    total = None
    for part in range(PARTS):
        u = T.reinterpret(decode(codes, rows, row, group, part, quarter), dtype="int8x16")
        z = state.vload([plane, group, part, quarter * QUARTER], "int8x16")
        product = vmull(_half(u, half), _half(z, half))
        total = product if total is None else total + product
    widen = T.llvm_lookup_intrinsic_id("llvm.arm.neon.vpaddls.v4i32.v8i16")
    return T.call_llvm_pure_intrin(widen, total, dtype="int32x4")


def _half(register: Expr, half: int) -> Expr:
    return T.vectorhigh(register, dtype="int8x8") if half else T.vectorlow(register, dtype="int8x8")
