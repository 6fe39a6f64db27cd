"""Ternary products for AVX-VNNI: ``vpdpbusd`` in its VEX encoding on ymm registers, see x86_vpdpbusd."""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr
from .ternary import ternary_product
from .tier import Tier
from .tiles import MicroKernel, Tile
from .x86_vpdpbusd import DotProduct, micro_kernel

ROWS_OF_REGISTER = 8

ACCUMULATORS = 8
"""Of 16 registers; the others hold the decoded weights of a block, activations and a mask. From 10
on LLVM spills.
"""

GEMM_TILE = Tile(blocks=1, tokens=4)
"""A decoded register meets 4 tokens, a token's four activations meet both halves of a line."""


def vpdpbusd(acc: Expr, codes: Expr, q: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32x8, uint8x32, int8x32."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.256")
    return T.call_llvm_pure_intrin(intrinsic, acc, codes, q, dtype="int32x8")


def ternary_gemv_u16_16x1_avxvnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    """An accumulator for each field and half of a line."""
    return ternary_product(Tile(blocks=1, tokens=1), _micro_kernel(dot_product), epilogue)


def ternary_gemm_u16_16x4_avxvnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    return ternary_product(GEMM_TILE, _micro_kernel(dot_product), epilogue)


def _micro_kernel(dot_product: DotProduct) -> MicroKernel:
    return partial(
        micro_kernel,
        dot_product=dot_product,
        rows=ROWS_OF_REGISTER,
        accumulators=ACCUMULATORS,
        unrolled=ACCUMULATORS,
    )
