"""Codes of 4 bits of an embedding: no logit is farther from its estimate than the bound, for any table."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebit.compiler.head_components import Components, calibrate
from edgebit.compiler.head_rotation import rotate
from edgebit.compiler.head_s4 import S4Packer
from edgebit.compiler.head_survivors import SurvivorCount
from tests.compiler.test_head_planes import (
    HIDDEN,
    SHAPES,
    TABLES,
    bf16,
    drawn_state,
    hidden_states,
    normal,
    packed,
    packer,
    padded,
    require_certified,
)
from tests.head_reference import Plane, codes_of, query, rotation, screen
from tests.schedules import canonical

Array = npt.NDArray[Any]
Generator = np.random.Generator
f32 = np.float32


def denormal(rng: Generator, rows: int, columns: int) -> Array:
    """Only values below the smallest normal one, and zeros."""
    return rng.integers(0, 128, (rows, columns)).astype(np.uint16) | (
        rng.integers(0, 2, (rows, columns)).astype(np.uint16) << np.uint16(15)
    )


def alternating(rng: Generator, rows: int, columns: int) -> Array:
    """One magnitude a row, its signs in turn: what a Hadamard transform turns into a single entry."""
    period = 2 ** rng.integers(0, 8, (rows, 1))
    signs = 1 - 2 * (np.arange(columns) // period % 2)
    return bf16(signs * np.exp2(rng.integers(-100, 100, (rows, 1)).astype(np.float64)))


def inside_the_components(rng: Generator, rows: int, columns: int) -> Array:
    """Entries in 16 columns alone, which become the outliers: nothing is left to be coded."""
    table = np.zeros((rows, columns), np.uint16)
    table[:, 8:24] = normal(rng, rows, 16)
    return table


ADVERSARIES = {**TABLES, **{f.__name__: f for f in (denormal, alternating, inside_the_components)}}


def components_of(table: Array) -> Components:
    states = hidden_states(np.random.default_rng(1), 40, table.shape[1])
    return calibrate(states, lambda: table.view(ml_dtypes.bfloat16))


def coded(table: Array, components: Components | None = None) -> Plane:
    made = S4Packer(
        "e",
        *table.shape,
        lambda: table.view(ml_dtypes.bfloat16),
        components_of(table) if components is None else components,
    )
    return codes_of(made.sections(), len(table))


@pytest.mark.parametrize("width", [256, 512, 768])
def test_the_rotation_is_an_orthogonal_matrix_that_spreads(width: int) -> None:
    matrix = rotation(width)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(width), atol=1e-12)
    np.testing.assert_allclose(rotate(np.eye(width)), matrix, atol=1e-12)
    assert np.abs(matrix).max() < 0.3


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(ADVERSARIES)),
    state=st.sampled_from(sorted(HIDDEN)),
    shape=SHAPES,
    seed=st.integers(0, 1 << 20),
)
def test_no_logit_is_outside_its_bound(kind: str, state: str, shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = ADVERSARIES[kind](rng, *shape)
    hidden = drawn_state(state, rng, table)
    if not hidden.any():  # a full pass computes these
        return
    result = screen(coded(table), query(packed(table), hidden, rotated=True))
    require_certified(result, table, hidden)


@pytest.mark.parametrize("kind", sorted(ADVERSARIES))
def test_the_bound_holds_and_is_reached_where_a_state_is_what_the_codes_left_out(kind: str) -> None:
    """The state for which Cauchy and Schwarz give no slack."""
    table = ADVERSARIES[kind](np.random.default_rng(4), 20, 300)
    plane, sections = coded(table), packed(table)
    matrix, turned = sections.components.astype(np.float64), rotation(512)
    values = canonical.bf16_to_f32(padded(table, 256)).astype(np.float64)
    approximations = (2.0 * plane.codes()[:20] - 15.0) * plane.bounds[:, 0].reshape(-1, 1)[:20]
    left = (values - values @ matrix @ matrix.T) @ turned.T - approximations
    reached = 0.0
    for row in range(20):
        state = left[row] @ turned
        if np.abs(state).max() < 1e-12 * np.abs(values[row]).max() or not state.any():
            continue  # nothing was left out
        scaled = (state / np.abs(state).max()).astype(f32)[:320]
        hidden = canonical.round_significant(scaled, 16)
        result = screen(plane, query(sections, hidden, rotated=True))
        with np.errstate(all="ignore"):
            exact = canonical.lm_head(padded(table), hidden)
            error = np.abs(exact.astype(np.float64) - result.estimates[:20])
        assert (error <= result.bounds[:20])[np.isfinite(result.uppers[:20])].all()
        if np.isfinite(result.uppers[row]):
            reached = max(reached, error[row] / result.bounds[row])
    assert reached > 0.5 or kind in ("inside_the_components", "denormal")


def test_bounds_hold_for_components_that_are_no_basis() -> None:
    """They decide how tight bounds are, never whether they hold."""
    rng = np.random.default_rng(3)
    table = normal(rng, 32, 300)
    made = packer(table)
    wrong = Components(
        made._components.outliers,
        np.rint(rng.standard_normal((300, 64)) * 2**15).astype(f32) * f32(2.0**-20),
        np.exp(rng.standard_normal(64)),
    )
    sections = packed(table)
    broken = type(sections)(
        **{**vars(sections), "components": np.pad(wrong.matrix, [(0, 212), (0, 0)]), "sigma": wrong.sigma}
    )
    for hidden in hidden_states(rng, 20, 300):
        state = padded(hidden)
        result = screen(coded(table, wrong), query(broken, state, rotated=True))
        exact = canonical.lm_head(padded(table), state)
        assert (np.abs(exact - result.estimates) <= result.bounds).all()


def test_screening_leaves_few_rows_and_the_compiler_counts_them() -> None:
    """The count is that of the float order of the kernels, for both forms; 4 bits leave more than 6."""
    rng = np.random.default_rng(2)
    table = normal(rng, 4000, 512)

    def data() -> npt.NDArray[Any]:
        return table.view(ml_dtypes.bfloat16)

    components = components_of(table)
    states = hidden_states(rng, 8, 512) + f32(0.05) * canonical.bf16_to_f32(table[:8])
    states = canonical.round_significant(states, 16)
    counts = [SurvivorCount(4000, states, components, rotated) for rotated in (False, True)]
    made = packer(table, components)
    type(made)("e", 4000, 512, data, components, counts[0])
    S4Packer("e", 4000, 512, data, components, counts[1])
    sections, codes = packed(table), coded(table, components)
    for count, plane in zip(counts, (sections.first, codes), strict=True):
        found = []
        for hidden in states:
            exact = canonical.lm_head(table, hidden)
            result = screen(plane, query(sections, hidden, rotated=plane.bits == 4))
            survivors = ~(result.uppers < exact[result.estimates.argmax()])
            assert survivors[exact.argmax()]
            found.append(survivors.sum())
        assert count.result(data).greedy == pytest.approx(np.mean(found), rel=0.02)
    few, more = (count.result(data) for count in counts)
    assert few.states == 8 and few.greedy < more.greedy < 4000 / 20
    assert few.top_k < more.top_k


def test_rows_of_padding_are_zero_and_rows_do_not_depend_on_those_beside() -> None:
    table = normal(np.random.default_rng(10), 300, 64)
    components = components_of(table)
    whole = coded(table, components)
    part = coded(table[128:140], components)
    assert not whole.rows[300:].any() and not whole.bounds.transpose(0, 2, 1).reshape(-1, 5)[300:].any()
    np.testing.assert_array_equal(whole.rows[128:140], part.rows[:12])
    np.testing.assert_array_equal(whole.bounds[8, :, :12], part.bounds[0, :, :12])
