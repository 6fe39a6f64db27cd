"""Kernels that TVM wrote: the values of a step-by-step float32 model, the same bits on every tier."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tvm.script import tirx as T

from edgebit.errors import CompileError
from edgebit.schedules.canonical import canonical
from edgebit.schedules.default_schedule import BLOCK, default_schedule, read_nest
from edgebit.schedules.tier import TIERS
from tests.schedules.harness import FLOAT_TIER_NAMES, Call, link, same_bits

Floats = npt.NDArray[np.float32]
LENGTH = 300  # a block of 256 and a rest of 44: 32, 8 and 4

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], float]] = {
    "exp": (T.exp, np.exp, 1),
    "sigmoid": (T.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 3),
    "tanh": (T.tanh, np.tanh, 2),
    "erf": (T.erf, np.vectorize(erf), 8),
    "log": (lambda x: T.log(T.fabs(x)), lambda x: np.log(np.abs(x)), 1),
    "sin": (T.sin, np.sin, 2),
    "cos": (T.cos, np.cos, 2),
    "round": (T.round, np.rint, 0),
    "floor": (T.floor, np.floor, 0),
    "ceil": (lambda x: T.ceil(x), np.ceil, 0),
    "trunc": (T.trunc, np.trunc, 0),
    "rsqrt": (lambda x: T.rsqrt(T.fabs(x) + T.float32(1.0)), lambda x: 1 / np.sqrt(np.abs(x) + 1), 2),
}
"""Name: (TIR, double precision, largest error in units of the last place)."""


def elementwise(function: Callable[[Any], Any], length: int = LENGTH) -> Any:
    @T.prim_func(s_tir=True)
    def kernel(x_data: T.handle, y_data: T.handle) -> None:
        x = T.match_buffer(x_data, (2, length), "float32")
        y = T.match_buffer(y_data, (2, length), "float32")
        for i, j in T.grid(T.int64(2), T.int64(length)):
            with T.sblock("map"):
                vi, vj = T.axis.remap("SS", [i, j])
                y[vi, vj] = function(x[vi, vj])

    return kernel


@T.prim_func(s_tir=True)
def product(a_data: T.handle, b_data: T.handle, y_data: T.handle) -> None:
    a = T.match_buffer(a_data, (3, 70), "float32")
    b = T.match_buffer(b_data, (70, LENGTH), "float32")
    y = T.match_buffer(y_data, (3, LENGTH), "float32")
    for i, j, k in T.grid(T.int64(3), T.int64(LENGTH), T.int64(70)):
        with T.sblock("product"):
            vi, vj, vk = T.axis.remap("SSR", [i, j, k])
            with T.init():
                y[vi, vj] = T.float32(0)
            y[vi, vj] = y[vi, vj] + a[vi, vk] * b[vk, vj]


@T.prim_func(s_tir=True)
def to_bytes(x_data: T.handle, y_data: T.handle) -> None:
    x = T.match_buffer(x_data, (1, LENGTH), "float32")
    y = T.match_buffer(y_data, (1, LENGTH), "int8")
    for i, j in T.grid(T.int64(1), T.int64(LENGTH)):
        with T.sblock("cast"):
            vi, vj = T.axis.remap("SS", [i, j])
            y[vi, vj] = T.cast(x[vi, vj], "int8")


def inputs() -> Floats:
    generator = np.random.default_rng(11)
    values = generator.standard_normal((2, LENGTH)) * 10.0 ** generator.uniform(-4, 1.2, (2, LENGTH))
    values[0, :8] = [0.0, -0.0, 0.5, -0.5, 2.5, 88.0, -88.0, 1e-40]
    return values.astype(np.float32)


A, B = (
    np.random.default_rng(12).standard_normal(shape).astype(np.float32) for shape in ((3, 70), (70, LENGTH))
)


def run(name: str, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """All kernels on a tier, the units of each in two calls, as two threads would share them."""
    tier = TIERS[name]
    kernels = {key: elementwise(function) for key, (function, _, _) in FUNCTIONS.items()}
    kernels |= {"product": product, "cast": to_bytes}
    program = link(lambda: {key: default_schedule(tier, each) for key, each in kernels.items()}, tier, folder)
    x = inputs()
    buffers: dict[str, npt.NDArray[Any]] = {
        "x": x,
        "a": A,
        "b": B,
        "product": np.zeros((3, LENGTH), np.float32),
    }
    buffers |= {key: np.zeros_like(x) for key in FUNCTIONS} | {"cast": np.zeros((1, LENGTH), np.int8)}
    calls = [Call(key, ["x", key], part) for key in FUNCTIONS for part in ((1, 0), (3, 1))]  # count, begin
    calls += [Call("product", ["a", "b", "product"], part) for part in ((2, 0), (4, 2))]
    return program.run(buffers, [*calls, Call("cast", ["x", "cast"], (2, 0))])


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, npt.NDArray[Any]]:
    """What every tier must give: what SSE2 gives."""
    return run("sse2", tmp_path_factory.mktemp("baseline"))


@pytest.mark.parametrize("name", FLOAT_TIER_NAMES)
def test_bits_are_the_same_on_every_tier(
    name: str, baseline: dict[str, npt.NDArray[Any]], tmp_path: Path
) -> None:
    after = run(name, tmp_path)
    for key in (*FUNCTIONS, "product", "cast"):
        same_bits(after[key], baseline[key])


def test_sums_have_the_order_of_their_axis_and_casts_stop_at_their_ends(
    baseline: dict[str, npt.NDArray[Any]],
) -> None:
    same_bits(baseline["product"], sequential(A, B))
    same_bits(baseline["cast"], np.clip(np.trunc(inputs()[:1]), -128, 127).astype(np.int8))


@pytest.mark.parametrize("key", list(FUNCTIONS))
def test_functions_are_as_exact_as_they_say(key: str, baseline: dict[str, npt.NDArray[Any]]) -> None:
    _, exact, units = FUNCTIONS[key]
    with np.errstate(divide="ignore"):
        expected = np.asarray(exact(inputs().astype(np.float64)))
    fine = np.isfinite(expected) & ((expected == 0) | (np.abs(expected) > 1e-37))
    spacing = np.spacing(np.abs(expected[fine]).astype(np.float32)).astype(np.float64)
    assert fine.mean() > 0.9
    assert (np.abs(baseline[key][fine] - expected[fine]) <= units * spacing).all()


def test_angles_are_reduced_in_full_and_none_is_answered_beyond(tmp_path: Path) -> None:
    """Of every size, positions of a long context, and neighbours of multiples of π/2."""
    generator, count = np.random.default_rng(17), 4096
    x = np.concatenate(
        [
            generator.choice([-1, 1], count - 4) * 2.0 ** generator.uniform(-40, 30, count - 4),
            [2.0**30, 2.0**30 + 128, np.inf, np.nan],
            np.arange(count // 2) * 64.0,
            generator.integers(1, 1 << 29, count // 2) * (np.pi / 2),
        ]
    )
    x = x.astype(np.float32).reshape(2, count)
    kernels = {name: elementwise(FUNCTIONS[name][0], count) for name in ("sin", "cos")}
    tier = TIERS["sse2"]
    scheduled = {key: default_schedule(tier, each) for key, each in kernels.items()}
    program = link(lambda: scheduled, tier, tmp_path)
    buffers = {"x": x, "sin": np.zeros_like(x), "cos": np.zeros_like(x)}
    after = program.run(buffers, [Call(key, ["x", key], (2 * -(-count // BLOCK), 0)) for key in kernels])
    known = np.abs(x) <= 2.0**30
    assert np.count_nonzero(~known) == 3
    for key in kernels:
        expected = FUNCTIONS[key][1](x[known].astype(np.float64))
        spacing = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
        assert (np.abs(after[key][known] - expected) <= 2 * spacing).all()
        assert np.isnan(after[key][~known]).all()


def sequential(a: Floats, b: Floats) -> Floats:
    """Each product rounded, added in the order of k."""
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total = total + a[:, k : k + 1] * b[k]
    return total


def test_a_unit_is_a_block_of_a_row() -> None:
    nest = read_nest(product)
    assert (nest.rows, nest.width, nest.units) == (3, LENGTH, 3 * -(-LENGTH // BLOCK))
    assert nest.operations == 3 * LENGTH * 70


def test_functions_of_functions_grow_by_one_function_each() -> None:
    def size(depth: int) -> int:
        def nested(x: Any) -> Any:
            for _ in range(depth):
                x = T.log(T.exp(x) + T.float32(1.0))
            return x

        return len(default_schedule(TIERS["sse2"], elementwise(nested)).script())

    one, two, three = map(size, (1, 2, 3))
    assert three - two < 1.5 * (two - one)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (T.tan, "function tan of float32"),
        (lambda x: T.cast(T.cast(x, "float64"), "float32"), "float64 values"),
        (lambda x: T.pow(x, x), "a power by a tensor"),
    ],
)
def test_what_has_no_canonical_form_is_refused(function: Callable[[Any], Any], complaint: str) -> None:
    with pytest.raises(CompileError, match=complaint):
        canonical(read_nest(elementwise(function)).statement)
