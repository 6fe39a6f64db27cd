"""Planes of an embedding: every bit comes back, and no logit is farther from its estimate than the bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebit.compiler import head_planes
from edgebit.compiler.head_components import GRID, Components, calibrate
from edgebit.compiler.head_planes import PlanePacker, PlanesDoNotPay
from edgebit.errors import CompileError
from tests.head_reference import Screened, Sections, query, screen, sections_of
from tests.schedules import canonical

Array = npt.NDArray[Any]
Generator = np.random.Generator
f32 = np.float32


def bf16(x: Array) -> Array:
    return x.astype(ml_dtypes.bfloat16).view(np.uint16)


def normal(rng: Generator, rows: int, columns: int) -> Array:
    return bf16(rng.standard_normal((rows, columns)) * np.exp(0.3 * rng.standard_normal((rows, 1))))


def one_dominant_column(rng: Generator, rows: int, columns: int) -> Array:
    x = rng.standard_normal((rows, columns))
    x[:, columns // 3] *= 1e4
    return bf16(x)


def many_dominant_columns(rng: Generator, rows: int, columns: int) -> Array:
    """More than are kept apart: most entries of a row are far below its step."""
    x = rng.uniform(0.5, 1.0, (rows, columns)) * rng.choice([-1, 1], (rows, columns))
    x[:, 5:25] *= 60
    return bf16(x)


def duplicated(rng: Generator, rows: int, columns: int) -> Array:
    return normal(rng, 3, columns)[rng.integers(0, 3, rows)]


def sparse(rng: Generator, rows: int, columns: int) -> Array:
    """Rows of zeros, of -0, and zeros among values."""
    x = normal(rng, rows, columns)
    x[rng.random(x.shape) < 0.3] = 0
    x[rng.random(x.shape) < 0.02] = 0x8000
    x[::5] = 0
    x[1::7, : columns // 12] = 0x8000
    return x


def magnitudes(rng: Generator, rows: int, columns: int) -> Array:
    """Rows from denormal to the largest finite values."""
    x = rng.uniform(0.51, 0.99, (rows, columns)) * rng.choice([-1, 1], (rows, columns))
    exponents = rng.integers(-132, 127, (rows, 1)).astype(np.float64)
    exponents[:2] = [[-133], [127]][:rows]
    return bf16((x * 2.0**exponents).astype(f32))


def powers(rng: Generator, rows: int, columns: int) -> Array:
    """Largest entries on and beside the power-of-two edges of the step."""
    x = rng.uniform(0.3, 0.9, (rows, columns))
    edge = rng.choice([127.0, 127.5, 128.0, 255.0, 0.5, 1.0], rows)
    x[:, 0] = 1.0
    return bf16(x * edge[:, None])


TABLES: dict[str, Callable[[Generator, int, int], Array]] = {
    function.__name__: function
    for function in (
        normal,
        one_dominant_column,
        many_dominant_columns,
        duplicated,
        sparse,
        magnitudes,
        powers,
    )
}


def hidden_states(rng: Generator, count: int, columns: int) -> Array:
    """Normalised states: a strong common direction, some outliers, 16 significant bits."""
    x = rng.standard_normal((count, columns)) + 3.0 * np.sin(np.arange(columns))
    x[:, 3 % columns] *= 40
    return canonical.round_significant(x.astype(f32), 16)


def packer(table: Array, components: Components | None = None, name: str = "e") -> PlanePacker:
    data = table.view(ml_dtypes.bfloat16)
    if components is None:
        states = hidden_states(np.random.default_rng(1), 40, table.shape[1])
        components = calibrate(states, lambda: data)
    return PlanePacker(name, *table.shape, lambda: data, components)


def packed(table: Array) -> Sections:
    """Also tables that do not pay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_planes, "_MOST_ESCAPES", 1.0)
        return sections_of(packer(table).sections(), len(table))


def padded(rows: Array, multiple: int = 64) -> Array:
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % multiple)])


SHAPES = st.tuples(st.integers(1, 40), st.sampled_from([64, 70, 128, 256, 300]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(kind=st.sampled_from(sorted(TABLES)), shape=SHAPES, seed=st.integers(0, 1 << 20))
def test_every_bit_of_the_table_comes_back(kind: str, shape: tuple[int, int], seed: int) -> None:
    table = TABLES[kind](np.random.default_rng(seed), *shape)
    found = packed(table)
    for v, row in enumerate(padded(table, 256)):
        np.testing.assert_array_equal(found.row(v), row.astype(np.uint32) << 16)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_bit_of_any_finite_row_comes_back(data: st.DataObject) -> None:
    """Bits without any structure."""
    exponent = st.integers(0, 254) if data.draw(st.booleans()) else st.integers(120, 130)
    entry = st.builds(
        lambda sign, e, m: sign << 15 | e << 7 | m, st.integers(0, 1), exponent, st.integers(0, 127)
    )
    table = np.array(data.draw(st.lists(st.lists(entry, min_size=64, max_size=64), min_size=1, max_size=3)))
    found = packed(table.astype(np.uint16))
    for v, row in enumerate(padded(table, 256)):
        np.testing.assert_array_equal(found.row(v), row.astype(np.uint32) << 16)


HIDDEN: dict[str, Callable[[Generator, Array], Array]] = {
    "like those of the calibration": lambda rng, table: hidden_states(rng, 1, table.shape[1])[0],
    "isotropic": lambda rng, table: rng.standard_normal(table.shape[1]).astype(f32),
    "a row of the table": lambda rng, table: canonical.bf16_to_f32(table[rng.integers(len(table))]),
    "one coordinate": lambda rng, table: np.eye(table.shape[1], dtype=f32)[rng.integers(table.shape[1])],
    "tiny": lambda rng, table: (rng.standard_normal(table.shape[1]) * 2.0**-60).astype(f32),
    "large": lambda rng, table: (rng.standard_normal(table.shape[1]) * 2.0**45).astype(f32),
}


def drawn_state(kind: str, rng: Generator, table: Array) -> Array:
    """A state as the final norm leaves it, as wide as the planes."""
    with np.errstate(over="ignore"):
        scaled = np.clip(HIDDEN[kind](rng, table), f32(-(2.0**49)), f32(2.0**49))
    return padded(canonical.round_significant(scaled, 16))


def require_certified(result: Screened, table: Array, hidden: Array) -> None:
    """No logit is outside its bound, where there is one."""
    with np.errstate(all="ignore"):
        exact = canonical.lm_head(padded(table), hidden)
        error = np.abs(exact.astype(np.float64) - result.estimates[: len(table)])
    certified = np.isfinite(result.uppers[: len(table)])
    assert (error <= result.bounds[: len(table)])[certified].all()
    assert (exact <= result.uppers[: len(table)])[certified].all()
    assert np.isfinite(exact[certified]).all(), "a logit that overflows must survive"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(TABLES)),
    state=st.sampled_from(sorted(HIDDEN)),
    shape=SHAPES,
    seed=st.integers(0, 1 << 20),
)
def test_no_logit_is_outside_its_bound(kind: str, state: str, shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = TABLES[kind](rng, *shape)
    hidden = drawn_state(state, rng, table)
    if not hidden.any():  # a full pass computes these
        return
    sections = packed(table)
    result = screen(sections.first, query(sections, hidden))
    require_certified(result, table, hidden)


def test_screening_leaves_few_rows() -> None:
    """What it is for: on an embedding with ordinary statistics, 1 of 50 rows and less."""
    rng = np.random.default_rng(2)
    table = normal(rng, 4000, 512)
    sections = packed(table)
    for hidden in hidden_states(rng, 5, 512) + f32(0.05) * canonical.bf16_to_f32(table[:5]):
        rounded = canonical.round_significant(hidden, 16)
        exact = canonical.lm_head(table, rounded)
        result = screen(sections.first, query(sections, rounded))
        leader = exact[result.estimates[: len(table)].argmax()]
        survivors = ~(result.uppers[: len(table)] < leader)
        assert survivors[exact.argmax()]
        assert survivors.sum() < len(table) / 50


def test_a_step_is_halved_where_clipping_costs_less_than_coarse_codes() -> None:
    """One entry of each row beyond 127.5 / 128, for which the step would be 1/64."""
    table = bf16(np.random.default_rng(12).uniform(-0.95, 0.95, (16, 256)))
    components = packer(table)._components
    column = np.setdiff1d(np.arange(256), components.outliers)[:16]

    def steps(largest: float) -> Array:
        table[np.arange(16), column] = bf16(np.array(largest))
        sections = sections_of(packer(table, components).sections(), 16)
        for v, row in enumerate(table):
            np.testing.assert_array_equal(sections.row(v), row.astype(np.uint32) << 16)
        return sections.bounds[0, 0]

    assert (steps(0.99) == 2.0**-7).all()
    assert (steps(-1.2) == 2.0**-7).all()  # (1.2 · 128 - 127.5)² = 681 < 4 · 256
    assert (steps(1.3) == 2.0**-6).all()


def test_rows_of_padding_have_no_bounds_and_zero_bytes() -> None:
    sections = packed(normal(np.random.default_rng(3), 17, 64))
    assert sections.bounds.shape == (2, 5, 16) and sections.plane1.shape == (32, 128 + 192)
    assert not sections.bounds[1, :, 1:].any() and not sections.plane1[17:].any()


def test_components_are_orthonormal_and_hold_most_of_the_energy() -> None:
    rng = np.random.default_rng(4)
    states = hidden_states(rng, 200, 320)
    table = one_dominant_column(rng, 50, 320)
    components = calibrate(states, lambda: table.view(ml_dtypes.bfloat16))
    matrix = components.matrix.astype(np.float64)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(64), atol=320 * GRID)
    assert len(set(components.outliers)) == 16 and 320 // 3 in components.outliers
    assert (matrix[components.outliers] == np.eye(64)[:16]).all()
    assert ((states @ matrix) ** 2).sum() > 0.9 * (states.astype(np.float64) ** 2).sum()
    np.testing.assert_allclose(components.sigma, np.sqrt(((states @ matrix) ** 2).mean(0)), rtol=2**-11)


def test_one_hidden_state_is_enough_for_components() -> None:
    table = normal(np.random.default_rng(5), 20, 70).view(ml_dtypes.bfloat16)
    components = calibrate(np.ones((1, 70), f32), lambda: table)
    matrix = components.matrix.astype(np.float64)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(64), atol=70 * GRID)
    assert (components.sigma > 0).all()


def test_states_that_are_not_finite_are_refused() -> None:
    table = normal(np.random.default_rng(6), 20, 64).view(ml_dtypes.bfloat16)
    for states in (np.full((2, 64), np.inf, f32), np.zeros((2, 64), f32)):
        with pytest.raises(CompileError, match="hidden states of the calibration"):
            calibrate(states, lambda: table)


def test_a_table_of_small_values_does_not_pay() -> None:
    table = normal(np.random.default_rng(7), 20, 128)
    table[:, 20:] = bf16(np.full((20, 108), 1e-6))
    table[:, :20] = bf16(np.ones((20, 20)))
    with pytest.raises(PlanesDoNotPay, match="tensor small: more than an eighth"):
        packer(table, name="small")


def test_narrow_and_huge_tables_do_not_pay() -> None:
    table = normal(np.random.default_rng(8), 20, 128)
    components = packer(table)._components
    narrow = normal(np.random.default_rng(8), 20, 32).view(ml_dtypes.bfloat16)
    with pytest.raises(PlanesDoNotPay, match="tensor e: 32 columns"):
        PlanePacker("e", 20, 32, lambda: narrow, components)
    with pytest.raises(PlanesDoNotPay, match="more than planes can index"):
        PlanePacker("e", 1 << 24, 128, lambda: narrow, components)


def test_values_that_are_no_finite_bfloat16_are_refused() -> None:
    table = normal(np.random.default_rng(9), 20, 64)
    components = packer(table)._components
    table[7, 3] = 0x7F80
    with pytest.raises(CompileError, match=r"tensor e: a value in rows 0\.\.19 is not finite"):
        packer(table, components)


def rows_just_above_a_bound(rng: Generator, rows: int, columns: int) -> tuple[Array, list[int]]:
    """A table with S = 1, and for each row the energy Σ (256 δ)² of its columns from 64 on: at most 8
    more than the square of a number of 12 bits, which bounds have.

    Entries of 128 to 255 units S / 256 are 257 to 384 units from what the first plane stands for, the first
    64 columns, of 127 S, keep S where it is.
    """
    left = rng.integers(257, 385, (rows, columns - 64))
    squares = np.arange(257, 385) ** 2
    free = squares[:, None, None] + squares[:, None] + squares  # by what the last three columns add
    energies = []
    for row in left:
        others = int((row[:-3] ** 2).sum())
        grid = 4 * round(math.sqrt(others + np.median(free)) / 4)
        above = others + free - grid**2
        row[-3:] = 257 + np.argwhere((above > 0) & (above <= 8))[0]
        energies.append(int((row**2).sum()))
    units = np.concatenate([np.full((rows, 64), 127 * 256), 512 - left], axis=1)
    return bf16(units / 256.0), energies


def test_the_energy_that_the_first_plane_leaves_is_never_rounded_down() -> None:
    """Energies of 2560 columns have more bits than float32: N must be the next number of 12 bits, not the one
    that the energy is just above.
    """
    table, energies = rows_just_above_a_bound(np.random.default_rng(12), 32, 2560)
    matrix = np.zeros((2560, 64), f32)
    matrix[np.arange(64), np.arange(64)] = 1.0
    sections = sections_of(packer(table, Components(np.arange(16), matrix, np.ones(64))).sections(), 32)
    bounds = sections.bounds.transpose(0, 2, 1).reshape(-1, 5).astype(np.float64)
    assert (bounds[:, 0] == 1.0).all()
    for found, energy in zip(bounds[:, 2] * 256.0, energies, strict=True):
        assert energy < int(found) ** 2 and found == math.isqrt(energy) + 4


def test_bounds_do_not_depend_on_the_rows_beside() -> None:
    """They are written by blocks of rows: the same row has the same bounds wherever it stands."""
    table = normal(np.random.default_rng(10), 600, 64)
    made = packer(table)
    whole = sections_of(made.sections(), 600)
    data = table[256:300].view(ml_dtypes.bfloat16)
    part = PlanePacker("e", 44, 64, lambda: data, made._components)
    bounds = sections_of(part.sections(), 44).bounds.transpose(0, 2, 1).reshape(-1, 5)[:44]
    np.testing.assert_array_equal(whole.bounds.transpose(0, 2, 1).reshape(-1, 5)[256:300], bounds)


def test_another_rotation_of_the_table_changes_no_bit_of_it() -> None:
    """Components decide how much survives, never what is decoded."""
    table = normal(np.random.default_rng(11), 30, 128)
    made = packer(table)
    other = replace(made._components, matrix=made._components.matrix * f32(0.5))
    sections = sections_of(packer(table, other).sections(), 30)
    for v, row in enumerate(padded(table, 256)):
        np.testing.assert_array_equal(sections.row(v), row.astype(np.uint32) << 16)
