"""What the ternary kernels are compiled to: the instructions they are written for, and none they may not."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

import pytest

from edgebit.schedules import x86_avx2
from edgebit.schedules.catalogue import SCHEDULES, kernel, provider, select
from edgebit.schedules.lowering import assembly
from edgebit.schedules.panel import LINE_CODES, PANEL_TOKENS, Panel
from edgebit.schedules.tier import TIERS
from edgebit.schedules.tiles import ROWS
from tests.schedules.harness import TRIPLES
from tests.schedules.test_float_instructions import CALLS, FUSED, HARMLESS_CALLS, STACK, instructions

# The epilogue with a sum and the one with most arithmetic stand for all.
KERNELS = ("ternary_gemv_residual", "ternary_gemm_silu_mul", "ternary_gemm_residual")


def body(tier_name: str, name: str) -> str:
    """Assembly of the kernel that a tier uses, without what TVM adds to every module."""
    return _body(provider(name, TIERS[tier_name]).name, name)


@cache
def _body(tier_name: str, name: str) -> str:
    tier = TIERS[tier_name]
    listing = assembly({name: kernel(name, tier).prim_func}, tier, TRIPLES[tier.architecture])
    found = re.search(rf"^{name}:\n(.*?)^\.Lfunc_end", listing, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def panel_bytes(tier_name: str, name: str) -> int:
    """Of a kernel's panel and its accumulators, for two blocks."""
    schedule = select(name, TIERS[tier_name])
    panel: Panel | None = getattr(import_module(f"edgebit.schedules.{schedule.module}"), "PANEL", None)
    if panel is None or "gemm" not in name:
        return 0
    return panel.window * LINE_CODES + 2 * PANEL_TOKENS * ROWS * 4


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
    stack = sum(int(size) for size in STACK[TIERS[tier_name].architecture].findall(text))
    assert stack < 4096 + panel_bytes(tier_name, name)


@pytest.mark.parametrize(
    ("tier_name", "instruction", "products", "at_most"),
    [
        ("avx512vnni", "vpdpbusd", 4, 2.7),
        ("avxvnni", "vpdpbusd", 8, 2.9),
        ("avx2", "vpmaddubsw", 8, 4.5),
        ("ssse3", "pmaddubsw", 16, 5.3),
        ("i8mm", "sdot", 16, 2.3),
        ("dotprod", "sdot", 16, 2.3),
        ("neon", "smlal2", 16, 4.4),
        ("armv7neon", "vmlal.s8", 16, 2.5),
    ],
)
def test_gemv_loop_has_few_instructions(
    tier_name: str, instruction: str, products: int, at_most: float
) -> None:
    """Instructions for each product of a line; `products` a line need one `instruction` each."""
    loop = innermost_loop(body(tier_name, "ternary_gemv_residual"), instruction)
    assert loop.count(instruction) % products == 0
    assert len(loop) / loop.count(instruction) <= at_most


@pytest.mark.parametrize(
    ("tier_name", "instruction", "tokens", "at_most"),
    [
        ("avx512vnni", "vpdpbusd", 12, 4.6),
        ("avxvnni", "vpdpbusd", 4, 1.9),
        ("avx2", "vpmaddubsw", 5, 2.9),
        ("ssse3", "pmaddubsw", 2, 5.7),
        ("i8mm", "smmla", 8, 2.2),
        ("dotprod", "sdot", 8, 1.25),
        ("neon", "smlal2", 2, 6.9),
        ("armv7neon", "vmlal.s8", 3, 2.3),
    ],
)
def test_gemm_loop_has_few_instructions(
    tier_name: str, instruction: str, tokens: int, at_most: float
) -> None:
    """Instructions for each product, in the loop of the largest tile, which has a multiple of its tokens."""
    loops = [mnemonics(loop) for loop in loops_with(body(tier_name, "ternary_gemm_residual"), instruction)]
    assert len(loops) >= (tokens + 1) // 2  # smmla takes two tokens at a time
    assert (
        min(len(loop) / loop.count(instruction) for loop in loops if loop.count(instruction) % tokens == 0)
        <= at_most
    )


def test_loops_of_panels_do_not_decode_and_do_not_spill() -> None:
    """With AVX2, where a tile of fewer tokens spills a constant."""
    loops = [
        loop
        for loop in loops_with(body("avx2", "ternary_gemm_silu_mul"), "vpmaddubsw")
        if "vpand" not in mnemonics(loop)
    ]
    assert len(loops) == len(x86_avx2.PANEL.sizes)
    assert not [line for loop in loops for line in loop if "ymm" in line and "rsp" in line]


@pytest.mark.parametrize(
    ("tier_name", "instruction", "register"),
    [
        ("avx512vnni", "vpdpbusd", "zmm"),
        ("i8mm", "smmla", "q"),
        ("dotprod", "sdot", "q"),
        ("neon", "smlal2", "q"),
        ("armv7neon", "vmlal.s8", "[dq]"),
    ],
)
def test_no_loop_of_gemm_spills(tier_name: str, instruction: str, register: str) -> None:
    for loop in loops_with(body(tier_name, "ternary_gemm_residual"), instruction):
        assert not [
            line for line in loop if re.search(rf"\b{register}\d+\b", line) and re.search("rsp|sp]", line)
        ]


def test_avxvnni_needs_no_avx512() -> None:
    """The instruction exists in two encodings: CPUs with AVX-VNNI alone have the one that is called {vex}."""
    for name in KERNELS:
        text = body("avxvnni", name)
        lines = [line for line in text.splitlines() if "vpdpbusd" in line]
        assert lines and all(line.startswith("\t{vex}\tvpdpbusd\t") for line in lines)
        assert not re.search(r"%zmm|%k[0-7]|%[xy]mm(1[6-9]|[23]\d)", text)


@pytest.mark.parametrize("name", [name for name, row in SCHEDULES.items() if "armv7neon" in row])
def test_32_bit_neon_holds_no_floats(name: str) -> None:
    """It would flush denormals: floats are in s registers, one at a time (doubles exist in VFP only)."""
    floats = [
        (mnemonic, operands)
        for mnemonic, operands in instructions(body("armv7neon", name))
        if re.match(r"v.*\.f(16|32)", mnemonic) and ".f64" not in mnemonic
    ]
    assert floats and not [operands for _, operands in floats if re.search(r"\b[dq]\d", operands)]


def test_avx512_decodes_without_shifts() -> None:
    for name in ("ternary_gemv_residual", "ternary_gemm_residual"):
        for loop in loops_with(body("avx512vnni", name), "vpdpbusd"):
            assert not [mnemonic for mnemonic in mnemonics(loop) if mnemonic.startswith("vps")]
