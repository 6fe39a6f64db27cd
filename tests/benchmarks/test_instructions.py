"""Ternary kernels keep their budgets of executed instructions, whole kernels over 2560 x 2560 weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.instructions import MACHINES, TIERS_COUNTED, Count, count_tier, table
from edgebit.schedules.tier import TIERS

TOKENS = 24  # a multiple of every tile but that of 5, and enough for panels

# Instructions for 16 multiplications: GEMV, GEMM.
BUDGETS = {
    "avx2": (2.5, 1.75),
    "ssse3": (5.8, 6.0),
    "sse2": (16.0, 12.2),
    "i8mm": (2.4, 1.25),
    "dotprod": (2.4, 1.5),
    "neon": (4.5, 3.5),
    "armv7neon": (5.4, 4.9),
    "vfp": (65.0, 59.0),
    "rv64gc": (43.0, 45.0),
}


@pytest.mark.parametrize("name", TIERS_COUNTED)
def test_kernels_stay_within_their_budgets(name: str, tmp_path: Path) -> None:
    tier = TIERS[name]
    qemu = MACHINES[tier.architecture].qemu
    if shutil.which(qemu) is None and os.environ.get("EDGEBIT_REQUIRE_ARM") != "1":
        pytest.skip(f"{qemu} is not installed (package qemu-user)")
    counts = count_tier(tier, (0, TOKENS), tmp_path, estimate=False)
    for count, budget in zip(counts, BUDGETS[name], strict=True):
        assert 0.9 * budget < count.instructions <= budget, count


@pytest.mark.skipif(shutil.which("llvm-mca-19") is None, reason="no llvm-mca-19 (package llvm-19)")
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="no qemu-aarch64 (package qemu-user)")
def test_cycles_are_those_of_the_multiplications(tmp_path: Path) -> None:
    """smlal: one a cycle on both cores, two for 16 multiplications."""
    (count,) = count_tier(TIERS["neon"], (2,), tmp_path)
    assert set(count.cycles) == {"neoverse-n1", "cortex-a72"}
    assert all(2.0 <= cycles < 2.2 for cycles in count.cycles.values())


def test_the_table_is_markdown() -> None:
    header, _, row = table([Count("neon", "schedule", 0, 4.342, {"cortex-a72": 2.05})])
    assert header.count("|") == row.count("|") == 6
    assert row == "| neon | `schedule` | 1 | 4.34 | 2.05 cortex-a72 |"
