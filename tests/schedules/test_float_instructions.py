"""What the float kernels are compiled to: no instruction that rounds differently, no call, a small stack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from edgebit.schedules.catalogue import kernel
from edgebit.schedules.lowering import assembly
from edgebit.schedules.tier import TIERS
from tests.schedules.conftest import HEAD_DIMS, SCALAR_TIERS, attention_kernels, float_kernels
from tests.schedules.harness import FLOAT_TIER_NAMES, TRIPLES

# Their products are exact (13 significant bits by float16, 16 by bfloat16, any float by 2·trit): fusing
# changes nothing.
EXACT_PRODUCTS = ("attention_decode", "attention_prefill", "lm_head", "ternary_float")

FUSED = re.compile(
    r"vfn?m(add|sub)\w*|vfmaddsub\w*|vfmsubadd\w*"  # x86
    r"|fml[as]|fn?m(add|sub)(\.[sd])?"  # arm64, riscv64
    r"|vfn?m[as]\.f\d+|vn?ml[as]\.f\d+"  # armv7
)
ESTIMATES = re.compile(r"v?(rcp|rsqrt)(14)?[ps][sd]|f(recp|rsqrt)[esx]|vr(ecp|sqrt)[es]\S*")
CALLS = re.compile(r"call\w*|bl|blx|jal|jalr|tail")
# Division is for the bounds of loops: the oldest 32-bit ARM processors have none.
HARMLESS_CALLS = {"memset", "memcpy", "memmove", "__aeabi_idiv"}
STACK = {
    "x86_64": re.compile(r"\tsubq\t\$(\d+), %rsp"),
    "arm64": re.compile(r"\tsub\tsp, sp, #(\d+)"),
    "armv7": re.compile(r"\tsub\tsp, sp, #(\d+)"),
    "riscv64": re.compile(r"\taddi\tsp, sp, -(\d+)"),
}


@cache
def listing(tier_name: str) -> str:
    tier = TIERS[tier_name]
    functions = {symbol: built.prim_func for symbol, built in chosen_kernels(tier_name).items()}
    return assembly(functions, tier, TRIPLES[tier.architecture])


@cache
def chosen_kernels(tier_name: str) -> dict[str, Any]:
    """The smallest and the largest head dimension stand for all."""
    tier = TIERS[tier_name]
    names = ("ternary_float_gemv_store", "ternary_float_gemm_silu_mul")
    products = {name: kernel(name, tier) for name in names}
    dimensions = (min(HEAD_DIMS), max(HEAD_DIMS))
    return products | float_kernels(tier, dimensions) | attention_kernels(tier, ((16, 8), (128, 4)))


def kernels(tier_name: str) -> Iterator[tuple[str, str]]:
    """Symbol and text of every kernel."""
    for match in re.finditer(
        r"^(\w+):\n(\.Lfunc_begin.*?)^\.Lfunc_end", listing(tier_name), re.DOTALL | re.MULTILINE
    ):
        if match[1] in chosen_kernels(tier_name):
            yield match[1], match[2]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Mnemonic and operands."""
    for line in text.splitlines():
        mnemonic, _, operands = line.strip().removeprefix("{vex}\t").partition("\t")
        if line.startswith("\t") and not mnemonic.startswith("."):
            yield mnemonic, operands


TIER_NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in SCALAR_TIERS else name for name in FLOAT_TIER_NAMES
]


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_every_kernel_is_looked_at(tier_name: str) -> None:
    assert {symbol for symbol, _ in kernels(tier_name)} == set(chosen_kernels(tier_name))


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_only_exact_products_are_fused(tier_name: str) -> None:
    for symbol, text in kernels(tier_name):
        fused = {mnemonic for mnemonic, _ in instructions(text) if FUSED.fullmatch(mnemonic)}
        assert not fused or symbol.startswith(EXACT_PRODUCTS), f"{symbol}: {fused}"


@pytest.mark.parametrize("tier_name", ["avx512vnni", "avx2", "neon"])
def test_exact_products_are_fused_where_the_cpu_can(tier_name: str) -> None:
    """The check above sees what it looks for."""
    for symbol, text in kernels(tier_name):
        if symbol.startswith(EXACT_PRODUCTS):
            assert any(FUSED.fullmatch(mnemonic) for mnemonic, _ in instructions(text)), symbol


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_no_estimates_and_no_calls(tier_name: str) -> None:
    for symbol, text in kernels(tier_name):
        for mnemonic, operands in instructions(text):
            assert not ESTIMATES.fullmatch(mnemonic), f"{symbol}: {mnemonic}"
            if CALLS.fullmatch(mnemonic):
                assert operands.removesuffix("@PLT") in HARMLESS_CALLS, f"{symbol}: {mnemonic} {operands}"


@pytest.mark.parametrize("tier_name", TIER_NAMES)
def test_the_stack_stays_below_four_kilobytes(tier_name: str) -> None:
    pattern = STACK[TIERS[tier_name].architecture]
    for symbol, text in kernels(tier_name):
        assert sum(int(size) for size in pattern.findall(text)) < 4096, symbol
