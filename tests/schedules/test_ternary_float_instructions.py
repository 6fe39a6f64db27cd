"""What products of floats are compiled to: the instructions of their inner loops for 16 multiplications."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from edgebit.schedules.catalogue import kernel
from edgebit.schedules.lowering import assembly
from edgebit.schedules.tier import TIERS
from tests.schedules.harness import TRIPLES

MULTIPLY_ADD = re.compile(r"vfmadd\w+ps|fmla")
LANES = {"avx512vnni": 16, "avx2": 8, "neon": 4}
BUDGETS = {  # docs/KERNELS.md, and a little
    ("gemv", "avx512vnni"): 3.8,
    ("gemv", "avx2"): 8.2,
    ("gemv", "neon"): 15.0,
    ("gemm", "avx512vnni"): 1.6,
    ("gemm", "avx2"): 5.2,
    ("gemm", "neon"): 10.5,
}


def innermost_loops(listing: str) -> Iterator[list[str]]:
    """The mnemonics of every loop that holds no other."""
    labels: dict[str, int] = {}
    code: list[str] = []
    loops: list[tuple[int, int]] = []
    for line in listing.splitlines():
        if label := re.match(r"(\.LBB\w+):", line):
            labels[label[1]] = len(code)
        elif line.startswith("\t") and not line.startswith("\t."):
            jump = re.search(r"(\.LBB\w+)$", line)
            if jump and jump[1] in labels:
                loops.append((labels[jump[1]], len(code)))
            code.append(line.split()[0])
    for begin, end in loops:
        if not any((a, b) != (begin, end) and begin <= a and b <= end for a, b in loops):
            yield code[begin : end + 1]


@pytest.mark.parametrize(("product", "tier_name"), BUDGETS)
def test_instructions_for_16_multiplications_stay_within_the_budget(product: str, tier_name: str) -> None:
    tier, name = TIERS[tier_name], f"ternary_float_{product}_store"
    built = kernel(name, tier)
    listing = assembly({name: built.prim_func}, tier, TRIPLES[tier.architecture])
    loops = []
    for loop in innermost_loops(listing):
        multiplying = sum(bool(MULTIPLY_ADD.fullmatch(mnemonic)) for mnemonic in loop)
        if multiplying:
            loops.append((multiplying * LANES[tier_name] / 16, len(loop)))
    largest = max(multiplications for multiplications, _ in loops)
    wide = [length / multiplications for multiplications, length in loops if multiplications == largest]
    assert max(wide) <= BUDGETS[product, tier_name]
