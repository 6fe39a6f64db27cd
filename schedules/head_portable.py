"""Kernel `head_screen` without intrinsics, for any CPU: 16 columns at a time in int16.

A line's byte j holds columns j of all four parts of a group, so a lane takes exactly four products before it
is widened: with codes of at most 63 and -128 <= z <= 127 they lie in [-32256, 32004]. A product of a
coefficient's byte and γ's lies in [-32640, 32385].
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_lanes
from .tier import Tier

LANES = 16


def head_screen_portable(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_portable(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
            lanes = T.alloc_buffer((2, LANES), "int32", scope="global")
            for i in range(FEW):
                for plane in T.unroll(2):
                    lanes[plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g, quarter in T.grid(groups, LINE // LANES):
                    for plane in T.unroll(2):
                        lanes[plane, vector(0, LANES)] = lanes[plane, vector(0, LANES)] + T.cast(
                            (
                                _product(codes, P, Z, i, plane, g, 0, quarter)
                                + _product(codes, P, Z, i, plane, g, 1, quarter)
                            )
                            + (
                                _product(codes, P, Z, i, plane, g, 2, quarter)
                                + _product(codes, P, Z, i, plane, g, 3, quarter)
                            ),
                            "int32x16",
                        )
                for plane in T.unroll(2):
                    C[0, plane, i] = C[0, plane, i] + sum_lanes(lanes[plane, vector(0, LANES)])

    return codes_portable


def _product(
    codes: Codes, rows: Expr, state: Expr, row: Expr, plane: Expr, group: Expr, part: int, quarter: Expr
) -> Expr:
    """Codes of 16 columns times a plane of their states: int16x16."""
    first = 2 + group * codes.lines
    line = rows.vload([0, row, first + part // 2, quarter * LANES], "uint8x16")
    u = _field(line, part % 2 * 4, 15)
    if codes.has_crumbs:
        crumbs = rows.vload([0, row, first + 2, quarter * LANES], "uint8x16")
        u = T.bitwise_or(T.shift_left(u, T.broadcast(T.uint8(2), LANES)), _field(crumbs, part * 2, 3))
    z = state.vload([plane, group, part, quarter * LANES], "int8x16")
    return T.cast(u, "int16x16") * T.cast(z, "int16x16")


def _field(line: Expr, shift: int, mask: int) -> Expr:
    shifted = T.shift_right(line, T.broadcast(T.uint8(shift), LANES))
    return T.bitwise_and(shifted, T.broadcast(T.uint8(mask), LANES))


def coefficients(codes: Codes) -> tirx.PrimFunc:
    """16 bytes of coefficients at a time."""
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def coefficients_portable(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
        groups = T.int32()
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        G = T.match_buffer(gamma, (2, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0:2, 0:FEW], P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE], G[0:2, 0:LINE])
            T.writes(C[0, 0:2, 0:FEW])
            lanes = T.alloc_buffer((2, LANES), "int32", scope="global")
            for i, half in T.grid(FEW, 2):
                for plane in T.unroll(2):
                    lanes[plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for quarter in T.unroll(LINE // LANES):
                    for plane in T.unroll(2):
                        lanes[plane, vector(0, LANES)] = lanes[plane, vector(0, LANES)] + T.cast(
                            T.cast(P.vload([0, i, half, quarter * LANES], "uint8x16"), "int16x16")
                            * T.cast(G.vload([plane, quarter * LANES], "int8x16"), "int16x16"),
                            "int32x16",
                        )
                C[0, half, i] = C[0, half, i] + (
                    sum_lanes(lanes[0, vector(0, LANES)]) * 256 + sum_lanes(lanes[1, vector(0, LANES)])
                )

    return coefficients_portable
