"""Ternary products of floats: one order of sums on every tier, at every edge of tiles, chunks and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.schedules.catalogue import kernel
from edgebit.schedules.ternary_float import CHUNK, gemm_tile
from edgebit.schedules.tier import TIERS, Tier
from tests.schedules import canonical
from tests.schedules.harness import FLOAT_TIER_NAMES, Call, Program, link, same_bits
from tests.schedules.ternary_cases import BLOCKS_OF_A_UNIT, EPILOGUES, pack_u16

Array = npt.NDArray[Any]
f32 = np.float32


@dataclass(frozen=True)
class Case:
    """One call, of GEMV where ``tokens`` is None. ``group`` in columns; ``scale`` of the weights."""

    epilogue: str
    count: int
    k: int
    group: int
    tokens: int | None = None
    scale: float = 1.0
    x: str = "random"
    extra_stride: int = 0

    @property
    def rows(self) -> int:
        return 16 * self.count * BLOCKS_OF_A_UNIT[self.epilogue]

    @property
    def kernel(self) -> str:
        return f"ternary_float_{'gemv' if self.tokens is None else 'gemm'}_{self.epilogue}"


def product(trits: Array, x: Array, scales: Array, group: int) -> Array:
    """The canonical order of schedules/ternary_float.py; trits [N, K], x [T, K], scales [N, groups]."""
    total = np.zeros((len(x), len(trits)), f32)
    for g in range(trits.shape[1] // group):
        sums = np.zeros((4, len(x), len(trits)), f32)
        for k in range(g * group, (g + 1) * group):
            field = k % 16 // 4
            sums[field] = sums[field] + x[:, k, None] * trits[:, k].astype(f32)[None]
        twice = (f32(2) * sums[0] + f32(2) * sums[1]) + (f32(2) * sums[2] + f32(2) * sums[3])
        total = total + twice * f32(0.5) * scales[:, g]
    return total


def finished(case: Case, y: Array, before: Array) -> Array:
    if case.epilogue == "store":
        return y
    if case.epilogue == "residual":
        return before + y
    pairs = y.reshape(len(y), case.count, 2, 16)
    gate, up = (pairs[:, :, i].reshape(len(y), -1) for i in range(2))
    activation = getattr(canonical, case.epilogue.removesuffix("_mul"))
    return np.asarray(activation(gate) * up)


def activations(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Array:
    x = rng.standard_normal(shape).astype(f32)
    if kind == "wide":
        x *= np.exp(rng.normal(0, 12, shape)).astype(f32)
    if kind == "denormal":
        x *= f32(1e-39)
    return x


def check(program: Program, cases: Sequence[Case]) -> None:
    """Runs all cases in one process; compares the bits of their outputs, and that nothing else changed."""
    buffers: dict[str, Array] = {}
    calls, expected = [], []
    for number, case in enumerate(cases):
        rng = np.random.default_rng(number)
        tokens = 1 if case.tokens is None else case.tokens
        codes = rng.integers(0, 3, (case.rows, case.k))
        x = activations(rng, case.x, (tokens, case.k))
        scales = (case.scale * np.exp(rng.normal(0, 1, (case.rows, case.k // case.group)))).astype(f32)
        out = rng.standard_normal((tokens, max(16 * case.count, 16) + case.extra_stride)).astype(f32)
        inputs = {
            "weights": pack_u16(codes) if case.rows else np.zeros(64, np.uint8),
            "x": x,
            "scales": scales.reshape(-1, 16, case.k // case.group).swapaxes(1, 2)
            if case.rows
            else np.zeros(16, f32),
        }
        names = [f"{number}.{name}" for name in (*inputs, "out")]
        buffers |= dict(zip(names, [*inputs.values(), out], strict=True))
        scalars = [case.count, case.k // 16, case.group // 16]
        if case.tokens is not None:
            scalars += [tokens, out.shape[1]]
        calls.append(Call(case.kernel, names, scalars))
        result = out.copy()
        written = result[:, : 16 * case.count]
        written[:] = finished(case, product(codes - 1, x, scales, case.group), written)
        expected.append(result)
    after = program.run(buffers, calls)
    for number, (case, result) in enumerate(zip(cases, expected, strict=True)):
        for name in ("weights", "x", "scales"):
            same_bits(after[f"{number}.{name}"], buffers[f"{number}.{name}"])
        try:
            same_bits(after[f"{number}.out"], result)
        except AssertionError as difference:
            raise AssertionError(f"{program.tier.name} {case}: {difference}") from None


def kernels(tier: Tier) -> dict[str, Any]:
    names = [f"ternary_float_{product}_{epilogue}" for product in ("gemv", "gemm") for epilogue in EPILOGUES]
    return {name: kernel(name, tier) for name in names}


@pytest.fixture(scope="module", params=FLOAT_TIER_NAMES)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    tier = TIERS[request.param]
    return link(lambda: kernels(tier), tier, tmp_path_factory.mktemp("ternary-float"))


@pytest.mark.parametrize("tokens", [None, 3], ids=["gemv", "gemm"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_groups_and_k(program: Program, epilogue: str, tokens: int | None) -> None:
    """One line to a whole row; around the chunks of GEMM."""
    sizes = [(64, 16), (64, 32), (64, 64), (192, 64), (256, 128), (512, 256), (192, 192)]
    sizes += [(16 * n, 16 * n) for n in (CHUNK, 3 * CHUNK // 2, 2 * CHUNK + 4)]
    check(program, [Case(epilogue, 2, k, group, tokens) for k, group in sizes])


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_any_number_of_tokens(program: Program, epilogue: str) -> None:
    tile = gemm_tile(program.tier)
    tokens = [*range(1, tile.tokens + tile.few + 2), 2 * tile.tokens, 2 * tile.tokens + 1]
    check(program, [Case(epilogue, 2, 128, 64, n, extra_stride=64) for n in tokens])


@pytest.mark.parametrize("tokens", [None, 2], ids=["gemv", "gemm"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_any_count(program: Program, epilogue: str, tokens: int | None) -> None:
    check(program, [Case(epilogue, n, 64, 64, tokens, extra_stride=16) for n in (0, 1, 2, 3)])


@pytest.mark.parametrize("tokens", [None, 5], ids=["gemv", "gemm"])
def test_values_of_any_size(program: Program, tokens: int | None) -> None:
    """Sums that cancel or absorb show the order; denormal activations, scales and results are kept."""
    kinds = [Case("store", 2, 256, 128, tokens, x=kind) for kind in ("wide", "denormal")]
    small = [Case("residual", 2, 256, 128, tokens, scale=10.0**-n) for n in (36, 38, 40)]
    check(program, [*kinds, *small])


def test_a_row_of_gemm_has_the_bits_of_gemv(program: Program) -> None:
    """Whatever tile a token falls into: prefill gives what decoding token by token gives."""
    rng = np.random.default_rng(1)
    count, k, group = 3, 256, 64
    tokens = gemm_tile(program.tier).tokens + 3
    buffers = {
        "weights": pack_u16(rng.integers(0, 3, (16 * count, k))),
        "x": activations(rng, "wide", (tokens, k)),
        "scales": rng.uniform(0, 1, (count, k // group, 16)).astype(f32),
        "gemm": np.zeros((tokens, 16 * count), f32),
        "gemv": np.zeros((tokens, 16 * count), f32),
    }
    sizes = (count, k // 16, group // 16)
    gemm = ("weights", "x", "scales", "gemm")
    calls = [Call("ternary_float_gemm_store", gemm, (*sizes, tokens, 16 * count))]
    for t in range(tokens):
        places = ("weights", ("x", 4 * t * k), "scales", ("gemv", 64 * count * t))
        calls.append(Call("ternary_float_gemv_store", places, sizes))
    after = program.run(buffers, calls)
    assert after["gemm"].any()
    same_bits(after["gemm"], after["gemv"])
