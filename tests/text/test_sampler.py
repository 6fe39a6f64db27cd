"""Sampling: the filters choose the sets transformers chooses, the noise has the right distribution, nothing
drifts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.text.native import Sampler, gumbel, noise_floor

VOCAB = 40


def warped(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float = 0.0
) -> np.ndarray:
    """Scores after the warpers of transformers, in its order; removed tokens are -inf."""
    scores = TemperatureLogitsWarper(temperature)(None, torch.from_numpy(logits)[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    if min_p:
        scores = MinPLogitsWarper(min_p)(None, scores)
    return scores[0].numpy()


def counts(logits: np.ndarray, draws: int, **settings_: float) -> np.ndarray:
    sampler = Sampler(len(logits))
    tokens = [sampler(logits, seed=5, position=i, **settings_) for i in range(draws)]  # type: ignore[arg-type]
    return np.bincount(tokens, minlength=len(logits))


def chi_square_limit(freedom: int) -> float:
    """The value exceeded with probability 1e-6 (Wilson and Hilferty)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 4.753 * math.sqrt(spread)) ** 3)


def test_greedy_takes_the_lowest_id_of_the_largest() -> None:
    assert Sampler(5)(np.array([1, 7, 3, 7, 7])) == 1
    assert Sampler(3)(np.array([-np.inf, -np.inf, -np.inf])) == 0


def test_nan_is_never_chosen() -> None:
    logits = np.full(VOCAB, np.nan)
    logits[[3, 9]] = 1, 2
    assert Sampler(VOCAB)(logits) == 9
    for options in ({}, {"top_k": 5}, {"top_p": 0.9}, {"top_k": 1, "top_p": 0.5}, {"min_p": 0.1}):
        assert set(np.flatnonzero(counts(logits, 50, temperature=1.0, **options))) <= {3, 9}


def test_infinite_logits_do_not_break_the_arithmetic() -> None:
    logits = np.array([-np.inf, 0.0, np.inf, -np.inf])
    for options in ({}, {"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.1}):
        assert Sampler(4)(logits, temperature=1.0, seed=1, **options) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": 1.0, "top_k": -1},
        {"min_p": -0.1},
        {"min_p": 1.5},
        {"min_p": float("nan")},
    ],
)
def test_settings_out_of_range_are_an_error(bad: dict[str, float]) -> None:
    assert Sampler(3)(np.zeros(3), **bad) == -1  # type: ignore[arg-type]
    assert Sampler(3)(np.full(3, np.nan)) == -1


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"),
    [(0, 1.0, 0.0), (5, 1.0, 0.0), (0, 0.7, 0.0), (8, 0.9, 0.0), (0, 1.0, 0.3), (8, 0.9, 0.4)],
)
def test_frequencies_follow_the_softmax_of_what_is_left(
    temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = np.random.default_rng(1).normal(size=VOCAB).astype(np.float32)
    scores = warped(logits, temperature, top_k, top_p, min_p)
    probabilities = np.exp(scores.astype(np.float64) - scores.max())
    expected = 4000 * probabilities / probabilities.sum()
    found = counts(logits, 4000, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    assert not found[expected == 0].any()
    # Rare tokens count together: the chi-square distribution wants five or more expected in each class.
    rare = expected < 5
    classes = [*zip(found[~rare], expected[~rare], strict=True), (found[rare].sum(), expected[rare].sum())]
    statistic = sum((f - e) ** 2 / e for f, e in classes if e > 0)
    assert statistic < chi_square_limit(max(1, len(classes) - 1))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.1, 1.0, 6.0]),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 2, 7, VOCAB, 1000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]),
)
def test_the_sets_are_those_of_transformers(
    seed: int, spread: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    """Nothing outside the set is ever drawn, and what has a fair chance in it is (with little spread: all of
    it)."""
    logits = np.random.default_rng(seed).normal(size=12).astype(np.float32) * np.float32(spread)
    kept = set(np.flatnonzero(np.isfinite(warped(logits, temperature, top_k, top_p, min_p))))
    sampler = Sampler(len(logits))
    drawn = {
        sampler(logits, temperature, top_k, top_p, min_p, seed=seed, position=position)
        for position in range(400)
    }
    assert drawn <= kept
    scores = warped(logits, temperature, top_k, top_p, min_p)
    likely = np.exp(scores - scores.max())
    assert {int(token) for token in kept if likely[token] / likely.sum() > 0.06} <= drawn


def test_tokens_that_tie_with_the_last_of_top_k_stay() -> None:
    logits = np.array([1, 2, 1, 1, 0], np.float32)
    assert set(np.flatnonzero(counts(logits, 300, temperature=1.0, top_k=2))) == {0, 1, 2, 3}


def test_min_p_one_leaves_the_likeliest_alone() -> None:
    logits = np.array([0, 3, 1, 3, 2.999], np.float32)
    assert set(np.flatnonzero(counts(logits, 300, temperature=2.0, min_p=1.0))) == {1, 3}


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    top_k=st.sampled_from([0, 1, 5]),
    top_p=st.sampled_from([0.6, 1.0]),
    min_p=st.sampled_from([0.0, 0.2]),
    temperature=st.sampled_from([0.0, 0.8]),
)
def test_tokens_that_cannot_be_chosen_may_be_left_out(
    seed: int, top_k: int, top_p: float, min_p: float, temperature: float
) -> None:
    """With NaN for them, or as a list without them: the token is the same."""
    chance = np.random.default_rng(seed)
    logits = chance.integers(-3, 4, size=VOCAB).astype(np.float32)  # with ties
    logits[chance.random(VOCAB) < 0.7] = np.nan
    logits[chance.integers(VOCAB)] = 1
    left = np.flatnonzero(~np.isnan(logits))
    for position in range(20):
        options = (temperature, top_k, top_p, min_p, seed, position)
        assert Sampler(VOCAB)(logits, *options) == Sampler(VOCAB)(logits[left], *options, tokens=left)


@settings(max_examples=300, deadline=None)
@given(bits=st.integers(0, 2**64 - 1), ones=st.integers(0, 64), below=st.floats(0, 3))
def test_no_noise_reaches_a_number_from_bits_below_its_floor(bits: int, ones: int, below: float) -> None:
    bits = bits >> (ones + 1) | (2**ones - 1) << (64 - ones)  # as many leading ones
    assert noise_floor(gumbel(bits) - below) <= bits
    assert noise_floor(gumbel(bits) + 3.5) > bits or not 3 <= ones <= 48  # and the floor is of use


def test_the_same_settings_give_the_same_token_and_other_seeds_others() -> None:
    logits = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    sampler = Sampler(1000)
    draws = [sampler(logits, 1.0, seed=9, position=position) for position in range(64)]
    assert draws == [Sampler(1000)(logits, 1.0, seed=9, position=position) for position in range(64)]
    assert draws != [sampler(logits, 1.0, seed=10, position=position) for position in range(64)]
    assert len(set(draws)) > 40


def test_filters_that_keep_everything_change_nothing() -> None:
    """The noise belongs to a token, not to its rank: with all tokens kept, the filters leave the choice
    alone."""
    logits = np.random.default_rng(3).normal(size=500).astype(np.float32)
    sampler = Sampler(500)
    for position in range(100):
        plain = sampler(logits, 0.9, seed=4, position=position)
        assert sampler(logits, 0.9, top_k=500, seed=4, position=position) == plain
        assert sampler(logits, 0.9, top_p=0.9999999, seed=4, position=position) == plain
        assert sampler(logits, 0.9, min_p=1e-30, seed=4, position=position) == plain


def test_the_choice_is_the_gumbel_maximum_in_exact_arithmetic() -> None:
    """The shortcuts (bounds instead of logarithms) never change the result: compare with the definition in
    Python."""
    mask = 2**64 - 1

    def mix(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
        return x ^ x >> 31

    def expected(logits: np.ndarray, temperature: float, seed: int, position: int) -> int:
        key = mix((mix(seed + 0x9E3779B97F4A7C15 & mask) + (position + 1) * 0xD1342543DE82EF95) & mask)
        noisy = []
        for token, logit in enumerate(logits):
            bits = mix((key + (token + 1) * 0x9E3779B97F4A7C15) & mask)
            uniform = ((bits >> 12) + 0.5) * 2.0**-52
            noisy.append(float(logit) / float(np.float32(temperature)) - math.log(-math.log(uniform)))
        return int(np.argmax(noisy))

    logits = np.random.default_rng(6).normal(size=300).astype(np.float32)
    sampler = Sampler(300)
    for position in range(200):
        assert sampler(logits, 1.3, seed=77, position=position) == expected(logits, 1.3, 77, position)
