"""What a run cost."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True)
class Stats:
    """Figures of one run of Model.generate or Model.chat; seconds do not count what the caller does."""

    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, still in the KV cache from the run before
    generated_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0  # of all generated tokens after the first
    time_to_first_token: float = 0.0
    finish: str = ""  # "stop" (token or string), "length" (max_tokens), "context" (full), "" (left early)

    @property
    def prefill_tokens_per_second(self) -> float:
        """Of the tokens that were not cached."""
        return _rate(self.prompt_tokens - self.cached_tokens, self.prefill_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        """Of the tokens behind the first, which prefill gives."""
        return _rate(self.generated_tokens - 1, self.decode_seconds)

    def __str__(self) -> str:
        cached = f" ({self.cached_tokens} cached)" if self.cached_tokens else ""
        return (
            f"prompt {self.prompt_tokens} tokens{cached} at {self.prefill_tokens_per_second:.1f} tokens/s, "
            f"answer {self.generated_tokens} tokens at {self.decode_tokens_per_second:.1f} tokens/s, "
            f"first after {self.time_to_first_token:.3f} s"
        )


@dataclass(frozen=True)
class HeadStats:
    """How tokens were found among the vocabulary since the model was opened (eb_head_stats)."""

    queries: int = 0  # tokens chosen by screening the vocabulary, fallbacks included
    fallbacks: int = 0  # queries that took all logits after all
    survivors: int = 0  # tokens that screening left, of all other queries
    last_survivors: int = 0  # of the last one
    computed_rows: int = 0  # logits computed for all other queries
    full_passes: int = 0  # times all logits of a token were computed, fallbacks included
    refined_rows: int = 0  # tokens that a first, coarser screening left to the one that gives survivors

    @property
    def found(self) -> int:
        """Tokens found, one way or the other."""
        return self.queries + self.full_passes - self.fallbacks

    def since(self, before: HeadStats) -> HeadStats:
        """What was counted after `before`."""
        return HeadStats(
            queries=self.queries - before.queries,
            fallbacks=self.fallbacks - before.fallbacks,
            survivors=self.survivors - before.survivors,
            last_survivors=self.last_survivors,
            computed_rows=self.computed_rows - before.computed_rows,
            full_passes=self.full_passes - before.full_passes,
            refined_rows=self.refined_rows - before.refined_rows,
        )


@dataclass(frozen=True)
class SpeculationStats:
    """What guessing tokens gained since the model was opened (eb_speculation_stats)."""

    passes: int = 0
    tokens: int = 0  # sampled in these passes
    drafted: int = 0  # guesses that were evaluated
    accepted: int = 0  # of them right

    def since(self, before: SpeculationStats) -> SpeculationStats:
        """What was counted after `before`."""
        return SpeculationStats(
            passes=self.passes - before.passes,
            tokens=self.tokens - before.tokens,
            drafted=self.drafted - before.drafted,
            accepted=self.accepted - before.accepted,
        )

    @property
    def acceptance(self) -> float:
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def tokens_per_pass(self) -> float:
        return self.tokens / self.passes if self.passes else 0.0


class Meter:
    """Takes the times of a run as it goes."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._start = self._last = perf_counter()
        self._prefill = self._first = self._decode = 0.0
        self.cached = 0
        self.generated = 0
        self.finish = ""

    def prefilled(self) -> None:
        self._prefill = perf_counter() - self._start

    def resumed(self) -> None:
        """The caller has taken a piece and wants the next."""
        self._last = perf_counter()

    def sampled(self) -> None:
        now = perf_counter()
        self.generated += 1
        if self.generated == 1:
            self._first = now - self._start
        else:
            self._decode += now - self._last

    def stats(self) -> Stats:
        return Stats(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self.cached,
            generated_tokens=self.generated,
            prefill_seconds=self._prefill,
            decode_seconds=self._decode,
            time_to_first_token=self._first,
            finish=self.finish,
        )


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if tokens > 0 and seconds > 0 else 0.0
