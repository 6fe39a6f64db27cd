"""Where the time of a pass goes: every step timed inside the library, added up by kernel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, count
from typing import Dict, Iterator, List, Sequence, Tuple

from .bench_measure import Bench
from .bench_plan import Step
from .engine import DECODE, HEAD, PREFILL

BEHIND_THE_PLAN = "head"  # kernel name of parts that the runtime adds behind the steps of the plan


@dataclass(frozen=True)
class Cost:
    """What the steps of one kernel and place cost together."""

    step: Step
    calls: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Of weights read; 0 for a step that streams none."""
        return self.calls * self.step.weight_bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """One phase: `seconds` as its caller saw it, of which the steps took those of `costs`."""

    phase: str
    tokens: int
    seconds: float
    costs: Tuple[Cost, ...]

    @property
    def kernels(self) -> List[List[Cost]]:
        """Costs grouped by kernel, the dearest kernel and place first."""
        groups: Dict[str, List[Cost]] = {}
        for cost in sorted(self.costs, key=lambda cost: -cost.seconds):
            groups.setdefault(cost.step.kernel, []).append(cost)
        return sorted(groups.values(), key=lambda group: -sum(cost.seconds for cost in group))

    @property
    def rest(self) -> float:
        """Seconds outside the steps: waking threads, sampling, Python."""
        return self.seconds - sum(cost.seconds for cost in self.costs)


def take_profile(bench: Bench) -> List[Profile]:
    """Times the steps of one prompt and of what follows; its barriers make them a little slower."""
    engine = bench.engine
    engine.profile(True)
    _, seconds = bench.prefill()
    prefill = Profile("prefill", bench.work.prefill, seconds, _costs(bench))
    engine.profile(True)
    seconds = bench.decode(bench.work.decode)
    decode = Profile("decode", bench.work.decode, seconds, _costs(bench))
    engine.profile(False)
    return [prefill, decode]


def _costs(bench: Bench) -> Tuple[Cost, ...]:
    """Steps of the same kernel and place added up over the layers; those that did not run left out.

    A prompt may end in a chunk of one token, which takes the decode plan: all phases count.
    """
    phases = ((DECODE, bench.plan.decode), (PREFILL, bench.plan.prefill), (HEAD, bench.plan.head))
    calls: Counter[Step] = Counter()
    seconds: Dict[Step, float] = {}
    for phase, steps in phases:
        for step, (times, took) in zip(_named(steps), bench.engine.step_times(phase)):
            calls[step] += times
            seconds[step] = seconds.get(step, 0.0) + took
    return tuple(Cost(step, times, seconds[step]) for step, times in calls.items() if times)


def _named(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps of the plan, then names for parts that the runtime adds behind them."""
    return chain(steps, (Step(BEHIND_THE_PLAN, f"part {i}", 0) for i in count(1)))
