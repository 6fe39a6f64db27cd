"""What tests of the lm_head have in common: a table, hidden states, every form of a head, ways to sample."""

from __future__ import annotations

from functools import cache

import numpy as np

from edgebit.runtime.library import SamplingStruct
from tests.runtime.head_model import (
    Floats,
    Weights,
    bfloat16,
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
