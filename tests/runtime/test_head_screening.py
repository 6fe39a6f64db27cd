"""The lm_head: the token that all logits would give, without most of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from edgebit.compiler.head_rotation import rotate
from edgebit.runtime.library import SamplingStruct
from tests.runtime.builders import toy_library
from tests.runtime.head_cases import KINDS, SCREENED, SETTINGS, STATES, VOCAB, WIDTH, screened, states, table
from tests.runtime.head_model import NOT_FOUND, S4, LmHead, bfloat16, exact_weights, s4_weights, short

TAKES_ALL_LOGITS = {
    "top-p": SamplingStruct(temperature=1.0, top_p=0.9, seed=5),
    "top-p and min-p": SamplingStruct(temperature=1.0, top_p=0.9, min_p=0.1, seed=5),
    "a third of the vocabulary": SamplingStruct(temperature=1.0, top_k=VOCAB // 3 + 1, seed=5),
    "too many": SamplingStruct(temperature=1.0, top_k=2**31 - 1, seed=5),
}


@pytest.fixture(params=SCREENED)
def head(request: pytest.FixtureRequest) -> Iterator[LmHead]:
    opened = LmHead(screened(request.param), states(), 2)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_token_is_the_one_that_all_logits_give(name: str, head: LmHead) -> None:
    sampling = SETTINGS[name]
    logits = head.logits(0, STATES)
    for position, row in product(range(3), range(STATES)):
        found = head.choose(sampling, position, row)
        assert found in (head.sample(logits[row], sampling, position), NOT_FOUND)
    stats = head.stats()
    assert stats.queries == 3 * STATES
    assert stats.fallbacks < stats.queries / 20
    assert stats.full_passes == STATES
    leaders = sampling.top_k if sampling.temperature and sampling.top_k else 1
    twice = stats.refined_rows > 0  # the leaders are computed once more where survivors were screened again
    found = stats.survivors + leaders * (stats.queries - stats.fallbacks)
    assert found <= stats.computed_rows <= found + twice * leaders * stats.queries
    assert stats.survivors < VOCAB / 4 * stats.queries
    assert head.weights.head.kind == S4 or not twice


@pytest.mark.parametrize("name", TAKES_ALL_LOGITS)
def test_settings_that_need_all_logits_are_not_screened(name: str, head: LmHead) -> None:
    assert head.choose(TAKES_ALL_LOGITS[name]) == NOT_FOUND
    assert head.stats().queries == 0


@pytest.mark.parametrize("kind", SCREENED)
def test_any_number_of_threads_finds_the_same_with_the_same_work(kind: str) -> None:
    def run(threads: int) -> list[int]:
        head = LmHead(screened(kind), states(), threads)
        found = []
        for sampling, row in product(SETTINGS.values(), range(0, STATES, 9)):
            found += [head.choose(sampling, 1, row), head.stats().last_survivors, head.stats().refined_rows]
        head.close()
        return found

    assert run(1) == run(2) == run(3) == run(7)


@pytest.mark.parametrize("name", ["greedy", "top-k 40", "min-p", "temperature"])
def test_where_codes_leave_many_rows_their_first_plane_is_screened(name: str) -> None:
    """Clusters of rows that differ little, states that the components hardly know."""
    chance = np.random.default_rng(6)
    clusters = chance.standard_normal((8, WIDTH))[np.arange(VOCAB) % 8]
    values = clusters + 0.2 * chance.standard_normal((VOCAB, WIDTH))
    crowded = s4_weights(bfloat16(values * 0.05), states())
    hidden = short(np.random.default_rng(8).standard_normal((60, WIDTH)) * 30 + states(60))
    work = []
    for threads in (1, 3):
        head = LmHead(crowded, hidden, threads)
        logits = head.logits(0, 60)
        for row in range(60):
            expected = head.sample(logits[row], SETTINGS[name], row)
            assert head.choose(SETTINGS[name], row, row) in (expected, NOT_FOUND)
        stats = head.stats()
        found = stats.queries - stats.fallbacks
        assert found >= 10 and stats.refined_rows > 50 * found
        assert stats.survivors < stats.refined_rows * 0.7
        work.append((stats.refined_rows, stats.survivors, stats.computed_rows, stats.fallbacks))
        head.close()
    assert work[0] == work[1]


@pytest.mark.parametrize("width", [256, 512, 2560])
def test_states_are_rotated_as_rows_are(width: int) -> None:
    """By native code and by the compiler."""
    x = np.random.default_rng(width).standard_normal(width)
    rotated, scratch = x.copy(), np.zeros(width)
    toy_library().eb_probe_rotate(
        ctypes.c_void_p(rotated.ctypes.data), ctypes.c_void_p(scratch.ctypes.data), width
    )
    np.testing.assert_array_equal(rotated, rotate(x[:, None])[:, 0])


def test_no_logit_is_above_its_bound_nor_far_from_its_estimate(head: LmHead) -> None:
    for row in range(0, STATES, 5):
        head.choose(SETTINGS["greedy"], row=row)
        estimates, upper = head.bounds()
        logits = head.logits(row)[0]
        assert (logits <= upper).all()
        assert (np.abs(logits.astype(np.float64) - estimates) <= upper - estimates).all()


def test_states_that_the_components_do_not_know_are_still_exact(head: LmHead) -> None:
    chance = np.random.default_rng(8)
    for scale in (1e-30, 1e-12, 1.0, 1e12, 1e25):
        head.hidden[:] = short(chance.standard_normal(head.hidden.shape) * scale)
        logits = head.logits(0, 60)
        for row, name in product(range(60), ("greedy", "top-k 40", "temperature")):
            expected = head.sample(logits[row], SETTINGS[name], 7)
            assert head.choose(SETTINGS[name], 7, row) in (expected, NOT_FOUND)
    assert head.stats().queries == 5 * 180


@pytest.mark.parametrize("kind", SCREENED)
def test_rows_that_tie_are_all_kept(kind: str) -> None:
    """Whole logits of few values: the k-th has many equals."""
    chance = np.random.default_rng(3)
    tied = bfloat16(chance.integers(-1, 2, (VOCAB, WIDTH)) * (chance.random((VOCAB, WIDTH)) < 0.03))
    hidden = chance.integers(-1, 2, (60, WIDTH)).astype(np.float32)
    weights = {"exact": exact_weights, "s4": s4_weights}[kind](tied, hidden)
    head = LmHead(weights, hidden, 2)
    logits = head.logits(0, 60)
    for name, row in product(SETTINGS, range(60)):
        expected = head.sample(logits[row], SETTINGS[name], row)
        assert head.choose(SETTINGS[name], row, row) in (expected, NOT_FOUND)
    assert np.mean([len(np.flatnonzero(row == row.max())) for row in logits]) > 2
    assert head.stats().fallbacks < head.stats().queries / 3
    head.close()


@pytest.mark.parametrize("kind", SCREENED)
def test_equal_logits_take_all_of_them(kind: str) -> None:
    head = LmHead(KINDS[kind](np.tile(table()[:1], (VOCAB, 1))), states(), 2)
    for name in SETTINGS:
        if name not in ("temperature", "hardly anything but noise", "almost no temperature"):
            assert head.choose(SETTINGS[name]) == NOT_FOUND
    stats = head.stats()
    assert stats.queries == stats.fallbacks == len(SETTINGS) - 3
    assert stats.survivors == stats.computed_rows == 0
    # With noise they are no equals any more.
    logits = head.logits()[0]
    found = [head.choose(SETTINGS["temperature"], position) for position in range(50)]
    assert found == [head.sample(logits, SETTINGS["temperature"], position) for position in range(50)]
    head.close()


@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf, -np.inf, 3e38])
def test_a_state_that_cannot_be_screened_is_left_to_all_logits(value: float, head: LmHead) -> None:
    head.hidden[0] = value
    head.hidden[1] = states()[1]
    head.hidden[1, 7] = value
    for name in SETTINGS:
        assert head.choose(SETTINGS[name], row=0) == NOT_FOUND
    assert head.stats().fallbacks == len(SETTINGS)
    logits = head.logits(1)[0]
    found = head.choose(SETTINGS["greedy"], row=1)
    assert found == NOT_FOUND or found == int(logits.argmax())
    head.hidden[0] = states()[0]
    assert head.choose(SETTINGS["greedy"]) == int(head.logits()[0].argmax())


@pytest.mark.parametrize("kind", SCREENED)
def test_a_row_too_large_for_a_bound_is_left_to_all_logits(kind: str) -> None:
    large = table().copy()
    large[5] = bfloat16(np.full(WIDTH, 1e37))
    head = LmHead(KINDS[kind](large), states(), 1)
    assert head.choose(SETTINGS["greedy"]) == NOT_FOUND
    assert head.stats().fallbacks == 1
    head.close()
