"""Kernel `head_screen` for arm64 with dotprod: ``sdot``, 16 codes with 16 bytes of a state into 4 int32.

Codes are at most 63, signed bytes. Bytes of coefficients are not: their sign bit is flipped, which takes 128
from each, and given back as 128 Σγ.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_neon import decode
from .head_screen import FEW, LINE, PARTS, Codes, Products, screen, sum_four
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_dotprod(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, _coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def codes_dotprod(rows: T.handle, state: T.handle, sums: T.handle) -> None:
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
                for parity in T.unroll(2):
                    for plane in T.unroll(2):
                        acc[parity, plane, vector(0, LANES)] = T.broadcast(0, LANES)
                for g in range(groups):
                    for quarter in T.unroll(LINE // QUARTER):
                        for part in T.unroll(PARTS):
                            for plane in T.unroll(2):
                                acc[part % 2, plane, vector(0, LANES)] = _sdot(
                                    acc[part % 2, plane, vector(0, LANES)],
                                    decode(codes, P, i, g, part, quarter),
                                    Z.vload([plane, g, part, quarter * QUARTER], "int8x16"),
                                )
                for plane in T.unroll(2):
                    lanes[plane, i, vector(0, LANES)] = (
                        acc[0, plane, vector(0, LANES)] + acc[1, plane, vector(0, LANES)]
                    )
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[lanes[plane, k, vector(0, LANES)] for k in range(FEW)]
                )

    return codes_dotprod


def _coefficients(codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def coefficients_dotprod(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
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

    return coefficients_dotprod


def _scaled(rows: Expr, gamma: Expr, row: Expr, half: int) -> Expr:
    """256 · (bytes of coefficients by high bytes of γ) + (the same by low bytes), in 4 lanes."""
    flip, most = T.broadcast(T.uint8(128), QUARTER), T.broadcast(T.int8(64), QUARTER)
    planes = []
    for plane in range(2):
        total = taken = T.broadcast(0, LANES)
        for quarter in range(LINE // QUARTER):
            line = T.bitwise_xor(rows.vload([0, row, half, quarter * QUARTER], "uint8x16"), flip)
            g = gamma.vload([plane, quarter * QUARTER], "int8x16")
            total = _sdot(total, line, g)
            taken = _sdot(taken, T.reinterpret(most, dtype="uint8x16"), g)  # half of it
        planes.append(total + (taken + taken))
    return T.shift_left(planes[0], T.broadcast(8, LANES)) + planes[1]


def _sdot(acc: Expr, codes: Expr, z: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * z[4 i + j]``: int32x4, bytes taken as signed, int8x16."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8")
    return T.call_llvm_pure_intrin(intrinsic, acc, T.reinterpret(codes, dtype="int8x16"), z, dtype="int32x4")
