"""Taking the times: prompt, decoding and memory reads in turn, so that each meets the same machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from .bench_conditions import free_bytes, last_level_cache, resident_bytes
from .bench_plan import PlanFacts
from .engine import Engine
from .errors import ContextFullError, RuntimeModelError
from .sampling import Sampling
from .stats import HeadStats, SpeculationStats

Progress = Callable[[str], None]

GREEDY = Sampling()
BLOCK = 8  # tokens decoded between two reads of the memory
READ_SECONDS = 0.005  # a read takes at least so long: many rounds where the weights are small
OWN_MEMORY_LEAST = 64 << 20  # or eight times the last cache, but at most a quarter of the free memory
OWN_MEMORY_READS = 5


@dataclass(frozen=True)
class Workload:
    """What is measured: a prompt of `prefill` tokens, then `decode` more, `repeat` times."""

    prefill: int
    decode: int
    repeat: int


@dataclass(frozen=True)
class Series:
    """One figure of every repetition."""

    values: Sequence[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def std(self) -> float:
        return statistics.pstdev(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class TokenBytes:
    """What decoding one token reads, the mean over the tokens of a run."""

    layers: float
    head: float
    cache: float

    @property
    def total(self) -> float:
        return self.layers + self.head + self.cache


@dataclass(frozen=True)
class Measurement:
    """The figures of one number of threads."""

    threads: int
    tier: str
    load_seconds: float  # from opening the library to the session being ready
    prefill: Series  # tokens a second
    first_token: Series  # seconds from the prompt to the first token
    decode: Series  # tokens a second
    token_bytes: TokenBytes
    head: HeadStats  # how the tokens were found
    read_rate: Series  # bytes a second, of the weights, while decoding
    roofline_fraction: Series  # decode speed of what read_rate allows
    speculated: Series  # tokens a second, of the same tokens with guesses
    gain: Series  # speculated, of decode
    speculation: SpeculationStats
    cpu_share: float  # processor time the process got, of what its threads can use
    memory: Dict[str, Optional[int]]  # as bench_conditions.resident_bytes


def choose_workload(context: int, prefill: Optional[int], decode: Optional[int], repeat: int) -> Workload:
    """What was asked for; by default 128 and 64 tokens, or what the context holds.

    Raises RuntimeModelError where a number is below 1, ContextFullError where the tokens do not fit.
    """
    for name, value in (("prefill", prefill), ("decode", decode), ("repeat", repeat)):
        if value is not None and value < 1:
            raise RuntimeModelError(f"--{name} {value}: expected at least 1")
    tokens = prefill or min(128, max(1, context - (decode or context // 2)))
    work = Workload(tokens, decode or max(1, min(64, context - tokens)), repeat)
    if work.prefill + work.decode > context:
        raise ContextFullError(
            f"--prefill {work.prefill} and --decode {work.decode} need {work.prefill + work.decode} tokens, "
            f"the context holds {context}: ask for less, or compile the model with a longer context"
        )
    return work


def prompt_tokens(engine: Engine, count: int) -> List[int]:
    """The same ids for every run: spread over the vocabulary, without markup and stop tokens."""
    tokens: List[int] = []
    state = 1
    while len(tokens) < count:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        token = (state >> 33) % engine.info.vocab_size
        if not engine.text.is_special(token) and not engine.text.is_stop(token):
            tokens.append(token)
    return tokens


@dataclass(frozen=True)
class Repetition:
    """One prompt and what followed; seconds."""

    prefill: float
    first_token: float
    decode: float
    speculated: float  # the same tokens again
    reading: float  # of `read_bytes`, in turn with decoding
    read_bytes: int


class Bench:
    """An open engine under a workload."""

    def __init__(self, engine: Engine, plan: PlanFacts, work: Workload) -> None:
        self.engine = engine
        self.plan = plan
        self.work = work
        self._prompt = prompt_tokens(engine, work.prefill)
        self._first = self._token = 0
        self._rounds = 1

    def token_bytes(self, head: HeadStats) -> TokenBytes:
        """By the counters of the head; each decoded token attends to those before it and itself."""
        context = self.work.prefill + (self.work.decode + 1) / 2
        cache = self.plan.cache_bytes_per_token * context
        return TokenBytes(self.plan.body_bytes, self.plan.head_bytes(head) / head.found, cache)

    def measure(self, load_seconds: float, progress: Progress) -> Measurement:
        threads = self.engine.info.threads
        progress(f"{threads} threads: warming up")
        self.warm_up()
        runs = []
        head, guesses = self.engine.head_stats(), self.engine.speculation_stats()
        start, used = perf_counter(), process_time()
        for i in range(self.work.repeat):
            progress(f"{threads} threads: repetition {i + 1} of {self.work.repeat}")
            runs.append(self.repetition())
        cpu_share = (process_time() - used) / (perf_counter() - start) / threads
        head = self.engine.head_stats().since(head)
        size = self.token_bytes(head)
        decode = [self.work.decode / run.decode for run in runs]
        read = [run.read_bytes / run.reading for run in runs]
        return Measurement(
            threads=threads,
            tier=self.engine.info.tier,
            load_seconds=load_seconds,
            prefill=Series([self.work.prefill / run.prefill for run in runs]),
            first_token=Series([run.first_token for run in runs]),
            decode=Series(decode),
            token_bytes=size,
            head=head,
            read_rate=Series(read),
            roofline_fraction=Series([speed * size.total / rate for speed, rate in zip(decode, read)]),
            speculated=Series([self.work.decode / run.speculated for run in runs]),
            gain=Series([run.decode / run.speculated for run in runs]),
            speculation=self.engine.speculation_stats().since(guesses),
            cpu_share=cpu_share,
            memory=resident_bytes(),
        )

    def warm_up(self) -> None:
        """Touches the weights and all the memory, and finds how many rounds a read needs."""
        self.prefill()
        self.decode(self.work.decode)
        self.speculate()
        self.read()
        self._rounds = max(1, round(READ_SECONDS / max(self.read(), 1e-6)))

    def repetition(self) -> Repetition:
        """Reads of the memory stand before, between and behind blocks of decoding."""
        prefill, first_token = self.prefill()
        decoding, reads = 0.0, [self.read()]
        for done in range(0, self.work.decode, BLOCK):
            decoding += self.decode(min(BLOCK, self.work.decode - done))
            reads.append(self.read())
        speculated = self.speculate()
        read_bytes = len(reads) * self._rounds * self.plan.streamed_bytes
        return Repetition(prefill, first_token, decoding, speculated, sum(reads), read_bytes)

    def prefill(self) -> Tuple[float, float]:
        """Seconds for the prompt, and until its first token is there."""
        self.engine.rewind(0)
        start = perf_counter()
        self.engine.evaluate(self._prompt)
        evaluated = perf_counter()
        self._token = self._first = self.engine.sample(GREEDY)
        return evaluated - start, perf_counter() - start

    def decode(self, count: int) -> float:
        """Seconds for `count` more tokens; stop tokens do not stop."""
        start = perf_counter()
        for _ in range(count):
            (self._token,) = self.engine.generate(self._token, GREEDY, False, 1)
        return perf_counter() - start

    def speculate(self) -> float:
        """Seconds for the tokens behind the prompt once more, with guesses."""
        self.engine.rewind(self.work.prefill)
        token, left = self._first, self.work.decode
        start = perf_counter()
        while left:
            tokens = self.engine.generate(token, GREEDY, True, left)
            token = tokens[-1]
            left -= len(tokens)
        return perf_counter() - start

    def read(self) -> float:
        """Seconds for reading what decoding streams, some rounds."""
        return self.engine.read_weights(self.plan.streamed_offset, self.plan.streamed_bytes, self._rounds)

    def own_memory_rate(self) -> float:
        """Bytes a second read from new memory far larger than the caches."""
        size = max(OWN_MEMORY_LEAST, 8 * (last_level_cache() or 0))
        size = min(size, (free_bytes() or size * 4) // 4)
        return statistics.median(size / self.engine.read_memory(size, 1) for _ in range(OWN_MEMORY_READS))
