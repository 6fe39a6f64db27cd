"""Ternary products for AVX512-VNNI: ``vpdpbusd`` on zmm registers, see x86_vpdpbusd."""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import Expr
from .ternary import ternary_product
from .tier import Tier
from .tiles import ROWS, MicroKernel, Tile
from .x86_vpdpbusd import DotProduct, micro_kernel

ACCUMULATORS = 24
"""Of 32 registers; the others hold the decoded weights of two blocks, activations and masks."""

GEMV_TILE = Tile(blocks=1, tokens=1)
"""One block after the other, so that the hardware sees one stream: Zen 4 then reads at the speed of a plain
read loop (31 GB/s). Two blocks at once reach 15 GB/s, with prefetch 24; prefetching 2 to 8 KB ahead of one
block gains nothing.
"""

GEMM_TILE = Tile(blocks=2, tokens=12)
"""A decoded register meets 12 tokens, a token's four activations meet two blocks."""


def vpdpbusd(acc: Expr, codes: Expr, q: Expr) -> Expr:
    """``acc[i] + sum over j < 4 of codes[4 i + j] * q[4 i + j]``: int32x16, uint8x64, int8x64."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.x86.avx512.vpdpbusd.512")
    return T.call_llvm_pure_intrin(intrinsic, acc, codes, q, dtype="int32x16")


def ternary_gemv_u16_16x1_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    return ternary_product(GEMV_TILE, _micro_kernel(dot_product), epilogue)


def ternary_gemm_u16_32x12_avx512vnni(
    tier: Tier, epilogue: str, dot_product: DotProduct = vpdpbusd
) -> tirx.PrimFunc:
    return ternary_product(GEMM_TILE, _micro_kernel(dot_product), epilogue)


def _micro_kernel(dot_product: DotProduct) -> MicroKernel:
    return partial(micro_kernel, dot_product=dot_product, rows=ROWS, accumulators=ACCUMULATORS, unrolled=16)
