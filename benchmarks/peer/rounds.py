"""Timed rounds: every contender once in each, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.peer.child import Child
from benchmarks.peer.worker import Timing

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workload:
    """Tokens of each part and how often all is repeated."""

    prompt: int  # in the cache before decoding
    decode: int
    prefill: int
    rounds: int


@dataclass
class Speeds:
    """Tokens per second of one contender on one number of threads, an entry per round."""

    decode: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)  # CPUs that other processes kept busy meanwhile

    def add(self, workload: Workload, decode: Timing, prefill: Timing) -> None:
        self.decode.append(workload.decode / decode.seconds)
        self.prefill.append(workload.prefill / prefill.seconds)
        seconds = decode.seconds + prefill.seconds
        self.others.append((decode.other_cpu_seconds + prefill.other_cpu_seconds) / seconds)

    @property
    def median_decode(self) -> float:
        return median(self.decode)

    @property
    def median_prefill(self) -> float:
        return median(self.prefill)


def tokens(count: int, vocab_size: int) -> list[int]:
    """Distinct-looking token ids, the same for everyone."""
    return [(7919 * i + 13) % vocab_size for i in range(count)]


def run_rounds(
    children: Sequence[Child], workload: Workload, vocab_size: int, lock: Path | None, say: Say
) -> list[Speeds]:
    """The speeds of each child. Every second round goes backwards: nobody always follows the same other."""
    prompt = tokens(workload.prompt, vocab_size)
    following, long_prompt = (tokens(count, vocab_size) for count in (workload.decode, workload.prefill))
    speeds = [Speeds() for _ in children]
    for child in children:
        child.decode(prompt, prompt[:2])  # maps weights, starts threads
    for number in range(workload.rounds):
        order = list(zip(children, speeds, strict=True))
        with held(lock):
            for child, found in reversed(order) if number % 2 else order:
                found.add(workload, child.decode(prompt, following), child.prefill(long_prompt))
                say(
                    f"  {child.name}: decode {found.decode[-1]:.1f}, prefill {found.prefill[-1]:.1f} tokens/s"
                )
    return speeds


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """Holds a lock file for a round: on a machine on which several people measure, they take turns."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
