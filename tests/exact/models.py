"""Bundles of the 2B-4T shapes with fewer layers, and engines of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebit.runtime.engine import Engine
from edgebit.runtime.sampling import Sampling

SETTINGS = (
    Sampling(),
    Sampling(temperature=0.8, seed=11),
    Sampling(temperature=1.0, top_k=40, seed=12),
    Sampling(temperature=0.7, top_k=20, top_p=0.9, seed=13),
    Sampling(temperature=1.2, min_p=0.05, seed=14),
)
"""Every way to choose a token that screening serves."""


@contextmanager
def engine_of(bundle: Path, threads: int = 2, tier: str | None = None) -> Iterator[Engine]:
    """An engine of a bundle, its tier forced where one is named."""
    if tier is not None:
        os.environ["EDGEBIT_TIER"] = tier
    try:
        engine = Engine(bundle, threads)
    finally:
        os.environ.pop("EDGEBIT_TIER", None)
    with closing(engine):
        yield engine


def last_logits(engine: Engine) -> npt.NDArray[np.uint32]:
    """Bits of all logits of the token evaluated last."""
    pointer = engine._library.eb_logits(engine._open())
    return np.ctypeslib.as_array(pointer, (engine.info.vocab_size,)).copy().view(np.uint32)


def all_logits(engine: Engine, tokens: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Bits of the logits behind each token of a text that is appended at once."""
    return np.asarray(engine.evaluate_all(tokens)).view(np.uint32)


def text(length: int, vocab_size: int, seed: int = 5) -> list[int]:
    """Random tokens, with stretches that repeat."""
    random = np.random.default_rng(seed)
    tokens: list[int] = []
    while len(tokens) < length:
        if len(tokens) > 8 and random.random() < 0.3:
            start = int(random.integers(len(tokens) - 8))
            tokens += tokens[start : start + 8]
        else:
            tokens += random.integers(vocab_size, size=6).tolist()
    return tokens[:length]
