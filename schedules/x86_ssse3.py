"""Ternary products for SSSE3: ``pmaddubsw`` on xmm registers, see x86_pmaddubsw."""

from __future__ import annotations

from functools import partial

from tvm import tirx

from .ternary import ternary_product
from .tier import Tier
from .tiles import Tile
from .x86_pmaddubsw import XMM, gemm_micro_kernel, gemv_micro_kernel

GEMM_TILE = Tile(blocks=1, tokens=2)


def ternary_gemv_u16_16x1_ssse3(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """8 accumulators of int16, of 16 registers."""
    return ternary_product(Tile(blocks=1, tokens=1), partial(gemv_micro_kernel, registers=XMM), epilogue)


def ternary_gemm_u16_16x2_ssse3(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """8 accumulators of int16: a decoded register meets 2 tokens. The instruction overwrites the codes, so
    that each token but the last needs a copy.
    """
    return ternary_product(GEMM_TILE, partial(gemm_micro_kernel, registers=XMM, small=0), epilogue)
