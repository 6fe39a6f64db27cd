"""Where the time of a pass goes: every step timed inside the library, added up by kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Callable, Dict, List, Sequence, Tuple

from .bench_measure import Bench
from .bench_plan import PlanFacts, Step
from .engine import DECODE, HEAD, PREFILL, Engine

BEHIND_THE_PLAN = "head"  # kernel name of parts that the runtime adds behind the steps of the plan
# Those of native/head.c and the stages of native/head_screen.c, in their order.
HEAD_PARTS = ("all logits", "query", "screen", "rank", "leaders", "select", "gather", "survivors")


@dataclass(frozen=True)
class Cost:
    """What the steps of one kernel and place cost together."""

    step: Step
    calls: int
    seconds: float
    macs: int  # multiplications of a ternary weight with a code

    @property
    def read_bytes(self) -> int:
        """Of weights, by all calls."""
        return self.calls * self.step.weight_bytes


@dataclass(frozen=True)
class Profile:
    """One phase: `seconds` as its caller saw it, of which the steps took those of `costs`."""

    phase: str
    tokens: int
    seconds: float
    costs: Tuple[Cost, ...]
    unit: str = "tokens"  # of what `tokens` counts

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
    work = bench.work
    return [
        _profile("prefill", work.prefill, bench, lambda: bench.prefill()[1]),
        _profile("decode", work.decode, bench, lambda: bench.decode(work.decode)),
    ]


def _profile(phase: str, tokens: int, bench: Bench, run: Callable[[], float]) -> Profile:
    """The steps of whatever `run` evaluates; it gives the seconds it took.

    A prompt may end in a chunk of one token, which takes the decode plan: each plan counts with its tokens.
    """
    engine, plan = bench.engine, bench.plan
    engine.profile(True)
    seconds = run()
    engine.profile(False)
    return Profile(phase, tokens, seconds, step_costs(engine, plan, tokens))


def step_costs(engine: Engine, plan: PlanFacts, tokens: int) -> Tuple[Cost, ...]:
    """What the steps cost that evaluated `tokens` tokens since the engine's times began."""
    decode, prefill, head = (engine.step_times(each) for each in (DECODE, PREFILL, HEAD))
    alone = decode[0][0]  # tokens evaluated one by one: calls of the first step
    costs = _Costs()
    costs.add(plan.decode, decode, alone)
    costs.add(plan.prefill, prefill, tokens - alone)
    costs.add(plan.head, head, 0)
    return costs.all()


class _Costs:
    """Steps of the same kernel and place added up over layers and plans."""

    def __init__(self) -> None:
        self._sums: Dict[Step, Tuple[int, float, int]] = {}

    def add(self, steps: Sequence[Step], times: Sequence[Tuple[int, float]], tokens: int) -> None:
        """Times of the steps of a plan that evaluated so many tokens, then of the runtime's own parts."""
        parts = (Step(BEHIND_THE_PLAN, name, 0) for name in HEAD_PARTS)
        for step, (calls, seconds) in zip(chain(steps, parts), times):
            found = (calls, seconds, step.ternary_weights * tokens)
            known = self._sums.get(step, (0, 0.0, 0))
            self._sums[step] = (known[0] + found[0], known[1] + found[1], known[2] + found[2])

    def all(self) -> Tuple[Cost, ...]:
        """Those that ran."""
        return tuple(Cost(step, *sums) for step, sums in self._sums.items() if sums[0])
