"""Kernel `head_screen` for arm64 with dotprod: ``sdot``, 16 codes with 16 bytes of a state into 4 int32.

Codes are at most 63, signed bytes. Bytes of coefficients are not: their sign bit is flipped, which takes 128
from each, and given back as 128 Σγ.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_neon import decode
from .head_products import codes_kernel, coefficients_kernel
from .head_screen import LINE, PARTS, Codes, Products, screen
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_dotprod(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, _coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for quarter in T.unroll(LINE // QUARTER):
            for part in T.unroll(PARTS):
                for plane in T.unroll(2):
                    acc[part % 2, plane, vector(0, LANES)] = _sdot(
                        acc[part % 2, plane, vector(0, LANES)],
                        decode(codes, P, i, g, part, quarter),
                        Z.vload([plane, g, part, quarter * QUARTER], "int8x16"),
                    )

    return codes_kernel("dotprod", codes, LANES, group, ways=2)


def _coefficients(codes: Codes) -> tirx.PrimFunc:
    return coefficients_kernel("dotprod", codes, _scaled)


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
