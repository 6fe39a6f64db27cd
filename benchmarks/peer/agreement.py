"""Whether a peer computes the model at all: its logits against a reference, before its speed is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.peer.child import Answers
from benchmarks.peer.session import Floats

TOLERANCE = 0.03
"""Mean Kullback-Leibler divergence (nats) up to which an engine counts as computing the model.

Far above what rounding in another order does and far below what another model does (about 0.5 and more):
engines that keep activations or weights in fewer bits than the model lie between.
"""


@dataclass(frozen=True)
class Agreement:
    """How near an engine is to the nearest reference.

    divergence: mean KL(reference ‖ engine) in nats over the tokens of a prefill. after_long: the same for
    tokens after a prefill as long as the one that is timed. top1: share of tokens after which decoding one by
    one chooses the reference's most likely token.
    """

    reference: str
    divergence: float
    after_long: float
    top1: float

    @property
    def holds(self) -> bool:
        return self.divergence <= TOLERANCE

    @property
    def holds_after_long(self) -> bool:
        """An engine can be right on short prompts and wrong on those whose speed is measured."""
        return self.after_long <= TOLERANCE


def agree(references: Mapping[str, Answers], answers: Answers) -> Agreement:
    """The agreement with the reference that is nearest."""
    found = [
        Agreement(
            name,
            divergence(reference.logits, answers.logits),
            divergence(reference.after_long, answers.after_long),
            float((reference.logits.argmax(-1) == answers.choices).mean()),
        )
        for name, reference in references.items()
    ]
    return min(found, key=lambda agreement: agreement.divergence)


def divergence(reference: Floats, logits: Floats) -> float:
    """Mean KL divergence over the rows of two [tokens, vocab_size]; NaN logits are infinitely far away."""
    p, q = _log_softmax(reference), _log_softmax(logits)
    mean = float((np.exp(p) * (p - q)).sum(-1).mean())
    return mean if np.isfinite(mean) else float("inf")


def _log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(-1, keepdims=True))
    return wide
