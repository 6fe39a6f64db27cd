"""Ternary kernels on every tier: exact bits at every edge of their tiles, windows and loops."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import product
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgebit.schedules.catalogue import select
from edgebit.schedules.panel import PANEL_TOKENS, Panel
from edgebit.schedules.tier import TIERS, Tier
from tests.schedules.harness import TIER_NAMES, Call, Program, link, same_bits
from tests.schedules.ternary_cases import (
    ACTIVATIONS,
    BLOCKS_OF_A_UNIT,
    BY_ROW,
    EPILOGUES,
    WEIGHTS,
    Case,
    check,
    modelled_kernels,
    ternary_kernels,
)

MODELLED = {f"{name}-modelled": name for name in ("avx512vnni", "avxvnni")}

# K = 64 · n: one step of lines, an odd number, and around the int16 windows of 8, 16 and 32 lines.
K_EDGES = tuple(64 * n for n in (1, 2, 3, 4, 5, 7, 8, 9, 16, 17))


@dataclass(frozen=True)
class Kernels:
    """All ternary kernels of a tier, and the tokens of its largest GEMM tile."""

    program: Program
    tile: int


def gemm_module(tier: Tier) -> ModuleType:
    """Where the schedule of a tier's GEMM is."""
    return import_module(f"edgebit.schedules.{select('ternary_gemm_store', tier).module}")


def gemm_tile(tier: Tier) -> int:
    """Tokens of the largest tile of a tier's GEMM."""
    tokens: int = gemm_module(tier).GEMM_TILE.tokens
    return tokens


PANELS: dict[str, Panel] = {
    name: gemm_module(TIERS[name]).PANEL for name in TIER_NAMES if hasattr(gemm_module(TIERS[name]), "PANEL")
}

with_panel = pytest.mark.parametrize(
    "kernels, panel", PANELS.items(), indirect=["kernels"], ids=list(PANELS), scope="module"
)


@pytest.fixture(scope="module", params=[*TIER_NAMES, *MODELLED])
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Each tier, and the schedules of vpdpbusd with a model of their one instruction on the baseline."""
    folder = tmp_path_factory.mktemp("ternary")
    if request.param in MODELLED:
        modelled = TIERS[MODELLED[request.param]]
        return Kernels(
            link(lambda: modelled_kernels(modelled.name), TIERS["sse2"], folder), gemm_tile(modelled)
        )
    tier = TIERS[request.param]
    return Kernels(link(lambda: ternary_kernels(tier), tier, folder), gemm_tile(tier))


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemv_at_every_edge_of_k(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, 3, k, seed=k) for k in K_EDGES])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemv_of_any_count(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, n, 192, seed=n, extra_stride=16) for n in (0, 1, 2, 5)])


@pytest.mark.parametrize("epilogue", BY_ROW)
def test_every_row_may_have_a_scale_of_its_own(kernels: Kernels, epilogue: str) -> None:
    tokens = (None, 1, 2, kernels.tile, kernels.tile + 1)
    check(kernels.program, [Case(epilogue, 3, 128, n, by_row=True, extra_stride=16) for n in tokens])
    denormal = [Case(epilogue, 2, 128, n, by_row=True, weight_scale=1e-39) for n in (None, 3)]
    check(kernels.program, denormal)


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_at_every_edge_of_k(kernels: Kernels, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, 3, k, kernels.tile + 1, seed=k) for k in K_EDGES])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_of_any_number_of_tokens(kernels: Kernels, epilogue: str) -> None:
    """Every size of a tile and of two, and with an odd number of blocks."""
    tokens = range(1, 2 * kernels.tile + 2)
    cases = [Case(epilogue, 3, 64, n, seed=n, extra_stride=64) for n in tokens]
    for start in range(0, len(cases), 10):
        check(kernels.program, cases[start : start + 10])


@with_panel
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_tokens_that_meet_a_panel(kernels: Kernels, panel: Panel, epilogue: str) -> None:
    """From the one that is too few on, and where one panel does not hold them all."""
    tokens = [*range(panel.fewest - 1, panel.fewest + 2 * panel.tokens), PANEL_TOKENS]
    tokens += [PANEL_TOKENS + 1, 2 * PANEL_TOKENS, 2 * PANEL_TOKENS + 1]
    cases = [Case(epilogue, 3, 64, n, seed=n, extra_stride=64) for n in tokens]
    for start in range(0, len(cases), 10):
        check(kernels.program, cases[start : start + 10])


@with_panel
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_a_panel_at_every_edge_of_k(kernels: Kernels, panel: Panel, epilogue: str) -> None:
    check(kernels.program, [Case(epilogue, 3, k, panel.fewest, seed=k) for k in K_EDGES])


@with_panel
def test_extreme_codes_and_activations_of_a_panel(kernels: Kernels, panel: Panel) -> None:
    for weights, activations in product(WEIGHTS, ACTIVATIONS):
        check(
            kernels.program,
            [Case("store", 1, 64 * n, panel.fewest, weights, activations, seed=n) for n in (2, 4, 8, 9, 33)],
        )


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gemm_of_any_count(kernels: Kernels, epilogue: str) -> None:
    counts = (0, 1, 2, 3, 4, 5)
    check(kernels.program, [Case(epilogue, n, 192, 3, seed=n, extra_stride=16) for n in counts])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_a_row_of_gemm_has_the_bits_of_gemv(kernels: Kernels, epilogue: str) -> None:
    """Whatever tile a token falls into: prefill gives what decoding token by token gives."""
    rng = np.random.default_rng(1)
    count, k, tokens = 4, 128, kernels.tile + 3
    buffers = {
        "weights": rng.integers(0, 1 << 8, count * BLOCKS_OF_A_UNIT[epilogue] * 4 * k).astype(np.uint8),
        "q": rng.integers(-128, 128, (tokens, k)).astype(np.int8),
        "sums": rng.integers(-1000, 1000, tokens).astype(np.int32),
        "scales": rng.uniform(1, 100, tokens).astype(np.float32),
        "weight_scales": rng.uniform(0, 1, count * BLOCKS_OF_A_UNIT[epilogue]).astype(np.float32),
        "gemm": np.ones((tokens, 16 * count), np.float32),
        "gemv": np.ones((tokens, 16 * count), np.float32),
    }
    inputs = ("weights", "q", "sums", "scales", "weight_scales")
    lines = k // 16
    calls = [Call(f"ternary_gemm_{epilogue}", (*inputs, "gemm"), (count, lines, tokens, 16 * count))]
    for t in range(tokens):
        places = ("weights", ("q", t * k), ("sums", 4 * t), ("scales", 4 * t), "weight_scales")
        calls.append(Call(f"ternary_gemv_{epilogue}", (*places, ("gemv", 64 * count * t)), (count, lines)))
    after = kernels.program.run(buffers, calls)
    same_bits(after["gemm"], after["gemv"])


@pytest.mark.parametrize("tokens", [None, 5], ids=["gemv", "gemm"])
def test_extreme_codes_and_activations(kernels: Kernels, tokens: int | None) -> None:
    """int16 accumulators are full at the end of a window: -32768 with all -128, 32512 with all 127."""
    for weights, activations in product(WEIGHTS, ACTIVATIONS):
        cases = [Case("store", 1, 64 * n, tokens, weights, activations, seed=n) for n in (2, 4, 8, 9, 16, 33)]
        check(kernels.program, cases)


@pytest.mark.parametrize("tokens", [None, 4], ids=["gemv", "gemm"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_denormal_results_are_kept(kernels: Kernels, epilogue: str, tokens: int | None) -> None:
    """Scales whose quotients and products are denormal: vector floats of 32-bit ARM would make them 0."""
    cases = [Case(epilogue, 2, 128, tokens, seed=n, weight_scale=10.0**-n) for n in (37, 38, 39, 40, 41)]
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
        cases.append(
            Case(
                epilogue=data.draw(st.sampled_from(EPILOGUES)),
                count=data.draw(st.integers(0, 7)),
                k=64 * data.draw(st.integers(1, 40)),
                tokens=data.draw(st.none() | st.integers(1, 3 * kernels.tile)),
                weights=data.draw(st.sampled_from(sorted(WEIGHTS))),
                activations=data.draw(st.sampled_from(sorted(ACTIVATIONS))),
                seed=data.draw(st.integers(0, 1 << 20)),
                extra_stride=16 * data.draw(st.integers(0, 4)),
            )
        )
    check(kernels.program, cases)
