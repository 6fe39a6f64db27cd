"""Ternary products for AVX2: ``vpmaddubsw`` on ymm registers, see x86_pmaddubsw."""

from __future__ import annotations

from functools import partial

from tvm import tirx

from .ternary import Tile, ternary_product
from .tier import Tier
from .x86_pmaddubsw import YMM, gemm_micro_kernel, gemv_micro_kernel

GEMM_TILE = Tile(blocks=1, tokens=5)


def ternary_gemv_u16_16x1_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), partial(gemv_micro_kernel, registers=YMM), epilogue)


def ternary_gemm_u16_16x5_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """10 accumulators of int16: a decoded register meets 5 tokens, four activations meet both halves."""
    return ternary_product(GEMM_TILE, partial(gemm_micro_kernel, registers=YMM, small=3), epilogue)
