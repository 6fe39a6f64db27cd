"""Kernel `head_screen` for SSE2: ``pmaddwd``, 8 codes with 8 bytes of a state, both widened to int16.

A register of 16 columns is taken apart into its even and its odd ones, which costs less than into halves.
Several rows at once, which would share the widened states, spill: 16 registers are few.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_portable import coefficients
from .head_products import codes_kernel
from .head_screen import LINE, PARTS, Codes, Products, screen
from .head_x86 import decode
from .tier import Tier

LANES = 4
QUARTER = 16
"""Bytes of a register."""


def head_screen_sse2(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for quarter in range(LINE // QUARTER):
            for part in T.unroll(PARTS):
                for plane in T.unroll(2):
                    acc[0, plane, vector(0, LANES)] = acc[0, plane, vector(0, LANES)] + _products(
                        decode(codes, P, i, g, part, quarter * QUARTER, QUARTER),
                        Z.vload([plane, g, part, quarter * QUARTER], "int8x16"),
                    )

    return codes_kernel("sse2", codes, LANES, group)


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
