"""litespark-inference, its torchless runtime.

It loads one model, from the hub and from bfloat16 masters. The masters made of the same weights stand in a
cache folder in the hub's layout (models.write_masters), where it finds them without a network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.peer.session import CONTEXT, Floats

REPOSITORY = "edgebit/synthetic"


class LitesparkSession:
    def __init__(self, cache: Path, threads: int, embedding: str) -> None:
        # Both are read when the libraries are imported.
        os.environ |= {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
        from litespark_inference.torchless import load_bitnet_2b, runtime

        self._runtime = runtime
        self._model = load_bitnet_2b(REPOSITORY, embed_dtype=embedding)
        self.reset()

    def reset(self) -> None:
        self._state = self._runtime.init_state(self._model, t_max=CONTEXT)
        self._last: Floats = np.zeros(0, np.float32)

    def evaluate(self, ids: Sequence[int]) -> None:
        if len(ids) == 1:
            self._last = self._runtime.forward_one(self._model, self._state, ids[0])
        else:
            self._last = self._runtime.forward_prefill(self._model, self._state, list(ids))

    def choose(self) -> int:
        return int(self._last.argmax())

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        return np.array(self._runtime.forward_prefill_all_logits(self._model, self._state, list(ids)))


def open_session(model: Path, threads: int, variant: str) -> LitesparkSession:
    return LitesparkSession(model, threads, variant)
