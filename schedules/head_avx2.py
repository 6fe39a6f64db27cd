"""Kernel `head_screen` for AVX2: ``vpmaddubsw``, 32 codes (u8) with 32 bytes of a state (i8) into pair sums.

With codes of at most 63 and -128 <= z <= 127 a pair sum lies in [-16128, 16002]: two of them fit int16 before
they are widened. Bytes of coefficients reach 255, where it would saturate: they are widened first.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_products import codes_kernel, coefficients_kernel
from .head_screen import Codes, Products, screen
from .head_x86 import decode
from .tier import Tier

LANES = 8
HALF = 32
"""Bytes of a register."""

PREFETCH_DISTANCE = 96
"""Lines."""


def head_screen_avx2(tier: Tier, bits: int) -> tirx.PrimFunc:
    return screen(Products(_codes, _coefficients), bits)


def _codes(codes: Codes) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for h in T.unroll(2):
            for pair in T.unroll(2):
                for plane in T.unroll(2):
                    acc[0, plane, vector(0, LANES)] = acc[0, plane, vector(0, LANES)] + _widened(
                        _products(codes, P, Z, i, plane, g, pair * 2, h)
                        + _products(codes, P, Z, i, plane, g, pair * 2 + 1, h)
                    )

    return codes_kernel("avx2", codes, LANES, group, ahead=PREFETCH_DISTANCE)


def _coefficients(codes: Codes) -> tirx.PrimFunc:
    return coefficients_kernel("avx2", codes, _scaled)


def _products(
    codes: Codes, rows: Expr, state: Expr, row: Expr, plane: Expr, group: Expr, part: Expr, half: Expr
) -> Expr:
    """Pair sums of the codes of 32 columns of a part: int16x16."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx2.pmadd.ub.sw")
    z = state.vload([plane, group, part, half * HALF], "int8x32")
    u = decode(codes, rows, row, group, part, half * HALF, HALF)
    return T.call_llvm_pure_intrin(intrinsic, u, z, dtype="int16x16")


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
