"""Ternary kernels on every tier: exact bits at every edge of their tiles, windows and loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgebit.schedules.tier import TIERS
from tests.schedules.harness import TIER_NAMES, Program, link
from tests.schedules.ternary_cases import (
    ACTIVATIONS,
    EPILOGUES,
    GEMM_TILES,
    WEIGHTS,
    Case,
    check,
    modelled_avx512_kernels,
    ternary_kernels,
)

MODELLED = "avx512vnni-modelled"

# K = 64 · n: one step of lines, an odd number, and around the int16 windows of 8, 16 and 32 lines.
K_EDGES = tuple(64 * n for n in (1, 2, 3, 4, 5, 7, 8, 9, 16, 17))


@dataclass(frozen=True)
class Kernels:
    """All ternary kernels of a tier, and the tokens of its GEMM tile."""

    program: Program
    tile: int


@pytest.fixture(scope="module", params=[*TIER_NAMES, MODELLED])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Each tier, and the AVX512-VNNI schedules with a model of their one instruction on the baseline."""
    folder = tmp_path_factory.mktemp("ternary")
    if request.param == MODELLED:
        return Kernels(link(modelled_avx512_kernels, TIERS["sse2"], folder), GEMM_TILES["avx512vnni"])
    tier = TIERS[request.param]
    return Kernels(link(lambda: ternary_kernels(tier), tier, folder), GEMM_TILES[tier.name])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemv_at_every_edge_of_k(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, 3, k, seed=k) for k in K_EDGES])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemv_of_any_count(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, n, 192, seed=n, extra_stride=16) for n in (0, 1, 2, 5)])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_at_every_edge_of_k(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, 3, k, kernels.tile + 1, kernels.tile, seed=k) for k in K_EDGES])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_of_any_number_of_tokens(kernels: Kernels, epilogue: str) -> None:
    tokens = range(1, 2 * kernels.tile + 2)
    cases = [Case(epilogue, 2, 64, n, kernels.tile, seed=n, extra_stride=64) for n in tokens]
    for start in range(0, len(cases), 10):
        check(kernels.program, cases[start : start + 10])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_of_any_count(kernels: Kernels, epilogue: str) -> None:
    counts = (0, 1, 2, 3, 4, 5)
    check(kernels.program, [Case(epilogue, n, 192, 3, kernels.tile, seed=n, extra_stride=16) for n in counts])


@pytest.mark.parametrize("tokens", [1, 5], ids=["gemv", "gemm"])
def test_extreme_codes_and_activations(kernels: Kernels, tokens: int) -> None:
    """int16 accumulators are full at the end of a window: -32768 with all -128, 32512 with all 127."""
    tile = kernels.tile if tokens > 1 else 1
    for weights, activations in product(WEIGHTS, ACTIVATIONS):
        cases = [
            Case("store", 1, 64 * n, tokens, tile, weights, activations, seed=n) for n in (2, 4, 8, 9, 16, 33)
        ]
        check(kernels.program, cases)


# Without shrinking: a failure names its case, and every attempt at a smaller one runs the program again.
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_shape(kernels: Kernels, data: st.DataObject) -> None:
    cases = []
    for _ in range(4):
        tile = data.draw(st.sampled_from([1, kernels.tile]))
        cases.append(
            Case(
                epilogue=data.draw(st.sampled_from(EPILOGUES)),
                count=data.draw(st.integers(0, 7)),
                k=64 * data.draw(st.integers(1, 40)),
                tokens=data.draw(st.integers(1, 2 * tile + 1)) if tile > 1 else 1,
                tile=tile,
                weights=data.draw(st.sampled_from(sorted(WEIGHTS))),
                activations=data.draw(st.sampled_from(sorted(ACTIVATIONS))),
                seed=data.draw(st.integers(0, 1 << 20)),
                extra_stride=16 * data.draw(st.integers(0, 4)),
            )
        )
    check(kernels.program, cases)
