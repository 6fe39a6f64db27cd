"""What kernels of the lm_head are compiled to: the instructions they are written for, and no others."""

from __future__ import annotations

import pytest

from edgebit.schedules.tier import TIERS
from tests.schedules.test_float_instructions import (
    CALLS,
    ESTIMATES,
    FUSED,
    HARMLESS_CALLS,
    STACK,
    instructions,
)
from tests.schedules.test_ternary_instructions import body, innermost_loop

KERNELS = ("head_screen", "head_screen_u4", "head_rows", "lm_head_rows", "lm_head_int8", "embedding_int8")


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tier_name", TIERS)
def test_no_rounding_of_its_own_no_calls_and_a_small_stack(tier_name: str, name: str) -> None:
    text = body(tier_name, name)
    for mnemonic, operands in instructions(text):
        exact = name == "lm_head_rows"  # products of 16 and 8 bits
        assert exact or not FUSED.fullmatch(mnemonic), mnemonic
        assert not ESTIMATES.fullmatch(mnemonic), mnemonic
        if CALLS.fullmatch(mnemonic):
            assert operands.removesuffix("@PLT") in HARMLESS_CALLS, f"{mnemonic} {operands}"
    assert sum(int(size) for size in STACK[TIERS[tier_name].architecture].findall(text)) < 4096


@pytest.mark.parametrize(
    ("name", "tier_name", "instruction", "products", "at_most"),
    [
        ("head_screen", "avx512vnni", "vpdpbusd", 8, 4.3),
        ("head_screen", "avx2", "vpmaddubsw", 16, 5.9),
        ("head_screen", "dotprod", "sdot", 32, 4.0),
        ("head_screen", "neon", "smlal2", 24, 7.3),
        ("head_screen", "armv7neon", "vmlal.s8", 12, 5.8),
        ("head_screen_u4", "avx512vnni", "vpdpbusd", 8, 2.8),
        ("head_screen_u4", "avx2", "vpmaddubsw", 16, 3.9),
        ("head_screen_u4", "dotprod", "sdot", 32, 2.3),
        ("head_screen_u4", "neon", "smlal2", 24, 5.1),
        ("head_screen_u4", "armv7neon", "vmlal.s8", 12, 4.0),
    ],
)
def test_screening_loop_has_few_instructions(
    name: str, tier_name: str, instruction: str, products: int, at_most: float
) -> None:
    """A group of 256 columns (armv7neon: of 64) needs ``products`` instructions of the kind, and so many in
    all for each.
    """
    loop = innermost_loop(body(tier_name, name), instruction)
    assert loop.count(instruction) == products
    assert len(loop) / products <= at_most
