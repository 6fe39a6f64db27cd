"""edgebit: a bundle in the loader that travels with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.peer.session import Floats
from edgebit.runtime.engine import Engine
from edgebit.runtime.sampling import Sampling


class BundleSession:
    def __init__(self, bundle: Path, threads: int) -> None:
        self._engine = Engine(bundle, threads)
        self._greedy = Sampling()

    def reset(self) -> None:
        self._engine.rewind(0)

    def evaluate(self, ids: Sequence[int]) -> None:
        self._engine.evaluate(ids)

    def choose(self) -> int:
        return self._engine.sample(self._greedy)

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        return np.array(self._engine.evaluate_all(ids), np.float32)


def open_session(model: Path, threads: int, variant: str) -> BundleSession:
    return BundleSession(model, threads)
