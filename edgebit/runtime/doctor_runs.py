"""The self-test on this machine: which kernels the CPU has, and what each of them answers."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .bench_conditions import available_cpus
from .doctor_process import Tell, in_child
from .engine import LIBRARY, Engine
from .errors import RuntimeModelError
from .library import bind
from .program import show_progress
from .self_test import AnySample, Difference, find_difference
from .table import threads_text

FORCED = "EDGEBIT_TIER"


@dataclass(frozen=True)
class Tier:
    """Kernels of the library; `lacks`: the native sentence of a CPU that cannot run them, "" otherwise."""

    name: str
    lacks: str


@dataclass(frozen=True)
class Choice:
    """What the library takes when nobody asks for anything else."""

    tier: str
    threads: int


@dataclass(frozen=True)
class Run:
    """One self-test. `failure`: why it could not run; `difference`: what it answered otherwise."""

    tier: str
    threads: int
    seconds: float
    failure: str
    difference: Optional[Difference]

    @property
    def fault(self) -> str:
        """What is wrong; "" where all is right."""
        return self.failure or (str(self.difference) if self.difference else "")


def find_tiers(folder: Path, names: Sequence[str]) -> List[Tier]:
    """Which tiers this CPU has. Raises RuntimeModelError where the library cannot even be loaded."""

    def look(tell: Tell) -> List[List[str]]:
        bind(str(folder.resolve() / LIBRARY))
        return [[name, _refusal(folder, name)] for name in names]

    return [Tier(name, lacks) for name, lacks in in_child(look, _nobody)]


def _refusal(folder: Path, tier: str) -> str:
    """Why the CPU cannot run a tier; "" where it can, whatever else may keep the model from opening."""
    os.environ[FORCED] = tier
    try:
        Engine(folder, threads=1).close()
    except RuntimeModelError as error:
        if str(error).startswith(FORCED):
            return str(error).partition(": ")[2].partition(";")[0]  # behind it: what the CPU can run
    return ""


def find_choice(folder: Path) -> Choice:
    """Tier and threads as the environment and the CPU have it. Raises RuntimeModelError."""

    def look(tell: Tell) -> List[Any]:
        with closing(Engine(folder)) as engine:
            return [engine.info.tier, engine.info.threads]

    return Choice(*in_child(look, _nobody))


def runs_of(
    able: Sequence[str], choice: Optional[Choice], asked: Optional[int] = None
) -> List[Tuple[str, int]]:
    """(tier, threads) to test: the chosen kernels with one thread and with all, the other ones with all; or
    each with the number of threads that is `asked` for.
    """
    if asked is not None:
        return [(name, asked) for name in able]
    threads = choice.threads if choice else available_cpus()
    runs = []
    for name in able:
        counts = {1, threads} if choice and name == choice.tier else {threads}
        runs += [(name, count) for count in sorted(counts)]
    return runs


def run(folder: Path, tier: str, threads: int, samples: Sequence[AnySample]) -> Run:
    """The self-test with these kernels and threads. Whatever happens is in the result."""
    what = f"self-test: {tier}, {threads_text(threads)}"

    def test(tell: Tell) -> Optional[Dict[str, Any]]:
        os.environ[FORCED] = tier
        with closing(Engine(folder, threads)) as engine:
            difference = find_difference(engine, samples, tell)
        return asdict(difference) if difference else None

    start = perf_counter()
    failure, difference = "", None
    try:
        found = in_child(test, lambda done: show_progress(f"{what}, prompt {done + 1} of {len(samples)}"))
        difference = Difference(**found) if found else None
    except RuntimeModelError as error:
        failure = str(error)
    return Run(tier, threads, perf_counter() - start, failure, difference)


def _nobody(told: Any) -> None:
    """For work that tells nothing."""
