"""Ternary products for AVX2: ``vpmaddubsw`` on ymm registers, see x86_pmaddubsw."""

from __future__ import annotations

from functools import partial

from tvm import tirx

from .panel import Panel
from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile
from .x86_pmaddubsw import GEMM_WINDOW, YMM, gemm_micro_kernel, gemv_micro_kernel, panel_micro_kernel

GEMM_TILE = Tile(blocks=1, tokens=5)

PANEL = Panel(
    fewest=16, tokens=5, window=GEMM_WINDOW, micro_kernel=partial(panel_micro_kernel, registers=YMM)
)
"""On a Zen 3 96 tokens pass 0.98 to 1.14 times as fast, 9 and fewer slower. A tile of 6 tokens would fit the
registers, were it not that LLVM spills."""


def ternary_gemv_u16_16x1_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    return ternary_product(Tile(blocks=1, tokens=1), partial(gemv_micro_kernel, registers=YMM), epilogue)


def ternary_gemm_u16_16x5_avx2(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """10 accumulators of int16: a decoded register meets 5 tokens, four activations meet both halves."""
    product = partial(gemm_micro_kernel, registers=YMM, small=3)
    return ternary_product(GEMM_TILE, product, epilogue, panel=PANEL)
