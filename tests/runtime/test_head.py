"""The lm_head: all logits whatever the table is like, and the token they would give without most of them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.compiler.head_rotation import rotate
from edgebit.runtime.library import SamplingStruct
from tests.runtime.builders import toy_library
from tests.runtime.head_model import (
    NOT_FOUND,
    S4,
    Floats,
    HeadStruct,
    LmHead,
    Weights,
    bfloat16,
    canonical_logits,
    exact_weights,
    full_weights,
    int8_weights,
    s4_weights,
    short,
)

VOCAB, WIDTH, STATES = 1000, 192, 400
KINDS = {
    "full": full_weights,
    "int8": int8_weights,
    "exact": lambda table: exact_weights(table, states()),
    "s4": lambda table: s4_weights(table, states()),
}
SCREENED = ("exact", "s4")

SETTINGS = {
    "greedy": SamplingStruct(),
    "greedy, whatever else is set": SamplingStruct(top_k=7, top_p=0.5, min_p=0.3),
    "top-k 1": SamplingStruct(temperature=1.0, top_k=1),
    "top-k 40": SamplingStruct(temperature=0.8, top_k=40, seed=1),
    "top-k, top-p and min-p": SamplingStruct(temperature=1.5, top_k=20, top_p=0.7, min_p=0.05, seed=2),
    "min-p": SamplingStruct(temperature=1.2, min_p=0.1, seed=3),
    "min-p 1": SamplingStruct(temperature=1.0, min_p=1.0, seed=3),
    "temperature": SamplingStruct(temperature=0.7, seed=4),
    "almost no temperature": SamplingStruct(temperature=1e-20, seed=4),
    "hardly anything but noise": SamplingStruct(temperature=1e20, seed=4),
}
TAKES_ALL_LOGITS = {
    "top-p": SamplingStruct(temperature=1.0, top_p=0.9, seed=5),
    "top-p and min-p": SamplingStruct(temperature=1.0, top_p=0.9, min_p=0.1, seed=5),
    "a third of the vocabulary": SamplingStruct(temperature=1.0, top_k=VOCAB // 3 + 1, seed=5),
    "too many": SamplingStruct(temperature=1.0, top_k=2**31 - 1, seed=5),
}


@cache
def states(count: int = STATES, seed: int = 1) -> Floats:
    """Hidden states most of whose energy lies in few directions, and some columns above the others."""
    chance = np.random.default_rng(seed)
    directions = np.random.default_rng(0).standard_normal((30, WIDTH))
    hidden = (chance.standard_normal((count, 30)) * 3) @ directions + chance.standard_normal((count, WIDTH))
    hidden[:, ::50] *= 4
    return short(hidden)


@cache
def table() -> np.ndarray:
    """Rows of many sizes; some twice, some zero, one of -0; small values that the planes keep apart."""
    chance = np.random.default_rng(2)
    values = chance.standard_normal((VOCAB, WIDTH)) * np.exp(0.4 * chance.standard_normal((VOCAB, 1))) * 0.05
    values[:, ::50] *= 3
    values[chance.random((VOCAB, WIDTH)) < 0.01] *= 1e-4
    values[300:320] = values[500:520]
    values[990:] = values[::100]
    values[[17, 640]] = 0.0
    values[77] = -0.0
    return bfloat16(values)


@cache
def screened(kind: str) -> Weights:
    return KINDS[kind](table())


@pytest.fixture(params=SCREENED)
def head(request: pytest.FixtureRequest) -> Iterator[LmHead]:
    opened = LmHead(screened(request.param), states(), 2)
    yield opened
    opened.close()


# ---- all logits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["full", "exact", "s4"])
def test_logits_are_those_of_the_table_bit_for_bit(kind: str, threads: int) -> None:
    head = LmHead(KINDS[kind](table()), states(), threads)
    for first, rows in ((0, 1), (STATES - 1, 1), (3, 30)):
        expected = [canonical_logits(table(), hidden) for hidden in states()[first : first + rows]]
        found = head.logits(first, rows)
        assert np.array_equal(found.view(np.uint32), np.stack(expected).view(np.uint32))
    assert head.stats().full_passes == 32
    head.close()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_int8_logits_are_close_to_those_of_the_table(threads: int) -> None:
    head = LmHead(int8_weights(table()), states(), threads)
    expected = np.stack([canonical_logits(table(), hidden) for hidden in states()[5:45]])
    found = head.logits(5, 40)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert np.array_equal(found[:1], head.logits(5, 1))
    assert head.choose(SETTINGS["greedy"]) == NOT_FOUND
    assert head.stats().queries == 0
    head.close()


@pytest.mark.parametrize("kind", SCREENED)
def test_a_vocabulary_of_any_size_is_computed_to_its_end(kind: str) -> None:
    for vocab in (3, 15, 16, 17, 63, 100):
        head = LmHead(KINDS[kind](table()[:vocab]), states(), 3)
        expected = canonical_logits(table()[:vocab], states()[0])
        assert np.array_equal(head.logits()[0], expected)
        assert head.choose(SETTINGS["greedy"]) in (int(expected.argmax()), NOT_FOUND)
        head.close()


# ---- screening -----------------------------------------------------------------------------------


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


# ---- memory --------------------------------------------------------------------------------------


def resident(data: npt.NDArray[np.uint8]) -> int:
    """Kilobytes of a mapped array that are in this process, in however many parts the system keeps it."""
    begin, total, inside = data.ctypes.data, 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            start = int(first.split("-")[0], 16)
            inside = begin - 65536 < start < begin + data.size
        elif inside and first == "Rss:":
            total += int(line.split()[1])
    return total


def test_rows_read_here_and_there_do_not_stay_in_memory() -> None:
    """Little of the second plane is mapped, but while every token takes all of it."""
    chance = np.random.default_rng(4)
    wide = bfloat16(chance.standard_normal((20000, WIDTH)) * 0.05)
    made = exact_weights(wide, states())
    kilobytes = made.data.size / 1024
    head = LmHead(made, states(), 2)
    everything = head.logits()
    assert resident(made.data) > kilobytes * 0.9
    head.choose(SETTINGS["greedy"])
    screened = resident(made.data)
    assert kilobytes / 3 < screened < kilobytes * 0.6
    for row in range(30):
        head.choose(SETTINGS["top-k 40"], row=row)
    assert head.stats().computed_rows > 2 * 128
    assert resident(made.data) < screened + kilobytes * 0.1
    assert np.array_equal(head.logits(), everything)
    head.close()


@pytest.mark.parametrize("kind", SCREENED)
def test_rows_that_cannot_be_read_are_taken_from_the_mapping(kind: str) -> None:
    made = KINDS[kind](table())
    heads = [LmHead(made, states(), 2, file_is_readable=readable) for readable in (True, False)]
    for row in range(len(states())):
        first, second = (head.choose(SETTINGS["top-k 40"], row=row) for head in heads)
        assert first == second
    for head in heads:
        assert head.stats().computed_rows > 0
        head.close()


# ---- plans and weights ---------------------------------------------------------------------------


def refusal(weights: Weights, **changes: int) -> str:
    head = HeadStruct.from_buffer_copy(weights.head)
    for name, value in changes.items():
        setattr(head, name, value)
    error = ctypes.create_string_buffer(256)
    size = ctypes.c_uint64(len(weights.data))
    accepted = toy_library().eb_probe_head_check(ctypes.byref(head), weights.vocab_size, size, error, 256)
    assert bool(accepted) == (error.value == b"")
    return error.value.decode().replace("libmodel.so is damaged: its lm_head ", "")


PLANES = "plane1 plane2 bounds escape_index escapes outliers components sigma".split()
SECTIONS = {
    "full": ["table"],
    "int8": ["table", "scales"],
    "exact": PLANES,
    "s4": [*PLANES, "codes", "code_bounds"],
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_plan_whose_lm_head_reads_elsewhere_is_refused(kind: str) -> None:
    weights = KINDS[kind](table())
    assert refusal(weights) == ""
    for name in SECTIONS[kind]:
        for wrong in (len(weights.data) + 64, 2**64 - 64, getattr(weights.head, name) + 4):
            assert refusal(weights, **{name: wrong}) == "reads outside the weights"
    assert refusal(weights, hidden=2**32) == "reads outside the arena"
    assert refusal(weights, kind=5) == "is of no kind"
    for wrong in (0, 65, 2**31):
        assert refusal(weights, width=wrong) == "has a width that is no multiple of 64"
    kernels = {
        "full": ["lm_head"],
        "int8": ["lm_head", "quantize"],
        "exact": ["lm_head", "rows", "screen"],
        "s4": ["lm_head", "rows", "screen", "screen_codes"],
    }
    for name in kernels[kind]:
        assert refusal(weights, **{name: 2**32 - 1}) == "names a kernel that is not there"
    if kind in SCREENED:
        for wrong in (0, 128, 512, 2**31):
            assert refusal(weights, plane_width=wrong) == "has planes of another width"


def test_escapes_beyond_the_end_of_the_weights_are_refused() -> None:
    weights = screened("exact")
    data = weights.data.copy()
    last = data[weights.head.escape_index :][4 * VOCAB : 4 * VOCAB + 4].view(np.uint32)

    def accepted() -> bool:
        address, size = ctypes.c_void_p(data.ctypes.data), ctypes.c_uint64(data.size)
        check = toy_library().eb_probe_head_check_weights
        return bool(check(ctypes.byref(weights.head), VOCAB, address, size))

    assert last[0] > 0
    assert accepted()
    last[0] = (data.size - weights.head.escapes) // 4
    assert accepted()
    last[0] += 1
    assert not accepted()
    last[0] = 2**32 - 1
    assert not accepted()
