"""What the session holds: the tokens in its KV cache, kept from one run to the next."""

from __future__ import annotations

from typing import List, Sequence

from .engine import Engine
from .sampling import Sampling


class Context:
    """The tokens an engine has evaluated, and the shortest way to other ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: List[int] = []

    def reuse(self, ids: Sequence[int]) -> int:
        """Keeps the longest beginning that `ids` share with the cache, forgets the rest. Returns its length.

        At least one token is left to evaluate: logits come from an evaluation.
        """
        # An interrupt may have come between noting tokens and evaluating them: the engine's position counts.
        del self._ids[self._engine.position :]
        common = 0
        for old, new in zip(self._ids, ids[:-1]):
            if old != new:
                break
            common += 1
        self._engine.rewind(common)
        del self._ids[common:]
        return common

    def feed(self, ids: Sequence[int]) -> None:
        """Appends tokens; the logits of the last one are ready afterwards.

        A long prompt goes in pieces of about the same size, so that Ctrl-C is heard between them and none is
        of a few tokens, which cost more each.
        """
        pieces = -(-len(ids) // self._engine.info.chunk)
        ends = [len(ids) * (i + 1) // pieces for i in range(pieces)]
        for start, end in zip([0, *ends], ends):
            piece = ids[start:end]
            self._ids.extend(piece)
            if end < len(ids):
                self._engine.append(piece)
            else:
                self._engine.evaluate(piece)

    def generate(self, token: int, sampling: Sampling, speculate: bool, most: int) -> List[int]:
        """Appends `token`; 1 to `most` sampled tokens, of which all but the last are appended."""
        tokens = self._engine.generate(token, sampling, speculate, most)
        self._ids += [token, *tokens[:-1]]
        return tokens

    def evaluate_all(self, ids: Sequence[int]) -> memoryview[float]:
        """Logits [len(ids), vocab_size] of `ids` alone."""
        self._engine.rewind(0)
        self._ids = list(ids)
        return self._engine.evaluate_all(ids)
