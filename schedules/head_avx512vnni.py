"""Kernel `head_screen` for AVX512-VNNI: ``vpdpbusd``, a line of 64 codes with 64 bytes of a state.

Sums are int32: |Σ u6·z| ≤ W · 63 · 128, so W < 266,305; |Σ hi·γ| < 2³⁰ with both planes of γ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr, vector
from .head_products import codes_kernel, coefficients_kernel
from .head_screen import LINE, PARTS, Codes, Products, screen
from .head_x86 import decode
from .tier import Tier
from .x86_avx512vnni import vpdpbusd

DotProduct: TypeAlias = Callable[[Expr, Expr, Expr], Expr]

LANES = 16
PREFETCH_DISTANCE = 96
"""Lines, into the second cache. One row after the other: on Zen 4 several rows at once, which would share a
load of z, are slower (their streams are too short for the hardware), and so are prefetches into the first
cache.
"""


def head_screen_avx512vnni(tier: Tier, bits: int, dot_product: DotProduct = vpdpbusd) -> tirx.PrimFunc:
    return screen(
        Products(lambda codes: _codes(codes, dot_product), lambda codes: _coefficients(codes, dot_product)),
        bits,
    )


def _codes(codes: Codes, dot_product: DotProduct) -> tirx.PrimFunc:
    @T.inline
    def group(P, Z, acc, i, g):  # type: ignore[no-untyped-def]
        for part in T.unroll(PARTS):
            for plane in T.unroll(2):
                acc[part % 2, plane, vector(0, LANES)] = dot_product(
                    acc[part % 2, plane, vector(0, LANES)],
                    decode(codes, P, i, g, part, 0, LINE),
                    Z.vload([plane, g, part, 0], "int8x64"),
                )

    return codes_kernel("avx512vnni", codes, LANES, group, ways=2, ahead=PREFETCH_DISTANCE)


def _coefficients(codes: Codes, dot_product: DotProduct) -> tirx.PrimFunc:
    return coefficients_kernel("avx512vnni", codes, partial(_scaled, dot_product))


def _scaled(dot_product: DotProduct, rows: Expr, gamma: Expr, row: Expr, half: int) -> Expr:
    """256 · (bytes of coefficients by high bytes of γ) + (the same by low bytes), in 16 lanes."""
    line = rows.vload([0, row, half, 0], "uint8x64")
    high = dot_product(T.broadcast(0, LANES), line, gamma.vload([0, 0], "int8x64"))
    return dot_product(T.shift_left(high, T.broadcast(8, LANES)), line, gamma.vload([1, 0], "int8x64"))
