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
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_armv7neon(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits, lanes=1)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_armv7neon(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
                for g, quarter in T.grid(groups, LINE // QUARTER):
                    for plane in T.unroll(2):
                        acc[plane, vector(0, LANES)] = (
                            acc[plane, vector(0, LANES)] + _half_group(codes, P, Z, i, plane, g, quarter, 0)
                        ) + _half_group(codes, P, Z, i, plane, g, quarter, 1)
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = acc[plane, vector(0, LANES)]
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_armv7neon


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
