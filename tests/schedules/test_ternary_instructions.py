"""What the ternary kernels are compiled to: the instructions they are written for, and none they may not."""

from __future__ import annotations

import re
from functools import cache

import pytest

from edgebit.schedules.catalogue import kernel
from edgebit.schedules.lowering import assembly
from edgebit.schedules.tier import TIERS
from edgebit.schedules.x86_avx512vnni import GEMM_TILE
from tests.schedules.test_float_instructions import (
    CALLS,
    FUSED,
    HARMLESS_CALLS,
    STACK,
    TRIPLES,
    instructions,
)

# The epilogue with a sum and the one with most arithmetic stand for all.
KERNELS = ("ternary_gemv_residual", "ternary_gemm_silu_mul", "ternary_gemm_residual")


@cache
def body(tier_name: str, name: str) -> str:
    """Assembly of one kernel, without what TVM adds to every module."""
    tier = TIERS[tier_name]
    listing = assembly({name: kernel(name, tier).prim_func}, tier, TRIPLES[tier.architecture])
    found = re.search(rf"^{name}:\n(.*?)^\.Lfunc_end", listing, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def loops_with(text: str, instruction: str) -> list[list[str]]:
    """Innermost loops that contain an instruction, from a label to a jump back to it: their lines."""
    lines = text.splitlines()
    labels = {line.rstrip(":"): number for number, line in enumerate(lines) if re.match(r"\.LBB\w+:", line)}
    spans = []
    for number, line in enumerate(lines):
        jump = re.search(r"\t(?:j\w+|b\.?\w*|cbn?z)\t.*?(\.LBB\w+)$", line)
        if jump and labels[jump[1]] < number:
            spans.append(range(labels[jump[1]], number))
    innermost = [
        s for s in spans if not any(s != t and s.start <= t.start and t.stop <= s.stop for t in spans)
    ]
    loops = [lines[span.start : span.stop] for span in innermost]
    return [loop for loop in loops if instruction in mnemonics(loop)]


def mnemonics(lines: list[str]) -> list[str]:
    return [mnemonic for mnemonic, _ in instructions("\n".join(lines))]


def innermost_loop(text: str, instruction: str) -> list[str]:
    """Mnemonics of the smallest loop that contains an instruction."""
    return min((mnemonics(loop) for loop in loops_with(text, instruction)), key=len)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("tier_name", TIERS)
def test_no_fused_products_no_calls_and_a_small_stack(tier_name: str, name: str) -> None:
    text = body(tier_name, name)
    for mnemonic, operands in instructions(text):
        assert not FUSED.fullmatch(mnemonic), mnemonic
        if CALLS.fullmatch(mnemonic):
            assert operands.removesuffix("@PLT") in HARMLESS_CALLS, f"{mnemonic} {operands}"
    assert sum(int(size) for size in STACK[TIERS[tier_name].architecture].findall(text)) < 4096


@pytest.mark.parametrize(
    ("tier_name", "instruction", "products", "at_most"),
    [
        ("avx512vnni", "vpdpbusd", 4, 2.7),
        ("avx2", "vpmaddubsw", 8, 4.5),
        ("dotprod", "sdot", 16, 2.3),
        ("neon", "smlal2", 16, 4.4),
    ],
)
def test_gemv_loop_has_few_instructions(
    tier_name: str, instruction: str, products: int, at_most: float
) -> None:
    """Instructions for each product of a line; `products` a line need one `instruction` each."""
    loop = innermost_loop(body(tier_name, "ternary_gemv_residual"), instruction)
    assert loop.count(instruction) % products == 0
    assert len(loop) / loop.count(instruction) <= at_most


def test_avx512_gemv_decodes_without_shifts() -> None:
    loop = innermost_loop(body("avx512vnni", "ternary_gemv_residual"), "vpdpbusd")
    assert not [mnemonic for mnemonic in loop if mnemonic.startswith("vps")]


def test_avx512_gemm_keeps_its_accumulators_in_registers() -> None:
    """A loop for each number of tokens, none of which spills or shifts."""
    loops = loops_with(body("avx512vnni", "ternary_gemm_residual"), "vpdpbusd")
    assert len(loops) >= GEMM_TILE.tokens
    for loop in loops:
        assert not [line for line in loop if "zmm" in line and "rsp" in line]
        assert not [mnemonic for mnemonic in mnemonics(loop) if mnemonic.startswith("vps")]
