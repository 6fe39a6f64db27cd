"""What the float kernels need to know of a tier. It decides how much is done at once, never a result."""

from __future__ import annotations

from .tier import Tier


def native_f16(tier: Tier) -> bool:
    """Whether the tier converts float16 vectors in hardware."""
    return tier.architecture == "arm64" or "f16c" in tier.requires


def accumulator_lanes(tier: Tier) -> int:
    """Float32 lanes of accumulators that stay in registers, leaving room for operands.

    Eight registers of SSE2 and AVX2 (of 16), eight of AVX-512 and sixteen of NEON (of 32); without vector
    registers LLVM takes the lanes one by one.
    """
    if "avx512vl" in tier.requires:
        return 128
    if "avx2" in tier.requires or tier.architecture == "arm64":
        return 64
    return 32 if tier.architecture == "x86_64" else 16


def register_lanes(tier: Tier) -> int:
    """Float32 lanes of a vector register; 4 where LLVM takes the lanes one by one."""
    if "avx512vl" in tier.requires:
        return 16
    return 8 if "avx2" in tier.requires else 4


def accumulator_registers(tier: Tier) -> int:
    """Registers of a tile of accumulators, leaving room for its two operands.

    Of 32 in AVX-512 and NEON, of 16 in AVX2, of 16 in SSE2, which needs more of them for a product.
    """
    if "avx512vl" in tier.requires or tier.architecture == "arm64":
        return 24
    if "avx2" in tier.requires:
        return 12
    return 8 if tier.architecture == "x86_64" else 4


def query_rows(tier: Tier) -> int:
    """Queries that meet a converted vector of keys or values in registers."""
    return 8 if "avx512vl" in tier.requires else 4
