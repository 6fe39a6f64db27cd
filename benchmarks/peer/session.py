"""What every engine is reduced to: one KV cache that tokens are appended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CONTEXT = 1024  # tokens a session can hold: the longest prompt measured and what is decoded after it


class Session(Protocol):
    """A model opened by one engine on a fixed number of threads."""

    def reset(self) -> None:
        """Forgets all tokens."""

    def evaluate(self, ids: Sequence[int]) -> None:
        """Appends tokens, all at once; `choose` may follow."""

    def choose(self) -> int:
        """The most likely token after the last one, by the fastest way the engine has."""

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        """Appends tokens, all at once; float32 logits [len(ids), vocab_size] of each."""
