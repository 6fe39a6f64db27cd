"""Measuring models that are called: a run of a graph of tensors, or the embedding of a text."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Callable, Dict, Mapping, Optional

from .bench_conditions import resident_bytes
from .bench_measure import Progress, Series, prompt_tokens
from .bench_plan import read_plan, read_steps
from .bench_profile import Cost, Profile, step_costs
from .engine import RUN, TASK_RUN, Engine
from .errors import ContextFullError
from .tensors import seeded_inputs

LEAST_SECONDS = 0.02  # of a repetition: as many calls as fill it
LONGEST_TEXT = 128  # tokens, where nothing else is asked for
SEED = 0


@dataclass(frozen=True)
class CallMeasurement:
    """The figures of one number of threads; a value of `seconds` is the mean of the calls of a repetition."""

    threads: int
    tier: str
    load_seconds: float  # from opening the library to the session being ready
    calls: int  # of a repetition
    seconds: Series  # of a call
    cpu_share: float  # processor time the process got, of what its threads can use
    memory: Dict[str, Optional[int]]  # as bench_conditions.resident_bytes


class CallBench:
    """An open engine, and the call that is measured: inputs of a seed, or a text of `tokens` tokens."""

    def __init__(self, engine: Engine, manifest: Mapping[str, Any], tokens: Optional[int]) -> None:
        self.engine = engine
        self.task = engine.info.task
        self.tokens = 0 if self.task == TASK_RUN else _text_length(engine, tokens)
        self._call = self._runs() if self.task == TASK_RUN else self._embeds()
        self._manifest = manifest

    def _runs(self) -> Callable[[], object]:
        inputs = seeded_inputs(self.engine.info.inputs, SEED)
        return lambda: self.engine.run(inputs)

    def _embeds(self) -> Callable[[], object]:
        ids = prompt_tokens(self.engine, self.tokens)
        return lambda: self.engine.embed(ids)

    def measure(self, load_seconds: float, repeat: int, progress: Progress) -> CallMeasurement:
        threads = self.engine.info.threads
        progress(f"{threads} threads: warming up")
        self._seconds(1)
        calls = max(1, round(LEAST_SECONDS / max(self._seconds(1), 1e-6)))
        values = []
        start, used = perf_counter(), process_time()
        for i in range(repeat):
            progress(f"{threads} threads: repetition {i + 1} of {repeat}")
            values.append(self._seconds(calls) / calls)
        cpu_share = (process_time() - used) / (perf_counter() - start) / threads
        return CallMeasurement(
            threads=threads,
            tier=self.engine.info.tier,
            load_seconds=load_seconds,
            calls=calls,
            seconds=Series(values),
            cpu_share=cpu_share,
            memory=resident_bytes(),
        )

    def _seconds(self, calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            self._call()
        return perf_counter() - start

    def profile(self, calls: int) -> Profile:
        """The steps of some calls; its barriers make them a little slower."""
        self.engine.profile(True)
        seconds = self._seconds(calls)
        self.engine.profile(False)
        if self.task != TASK_RUN:
            costs = step_costs(self.engine, read_plan(self._manifest), self.tokens * calls)
            return Profile(self.task, self.tokens * calls, seconds, costs)
        times = zip(read_steps(self._manifest), self.engine.step_times(RUN))
        costs = tuple(Cost(step, count, taken, 0) for step, (count, taken) in times)
        return Profile(self.task, calls, seconds, costs, unit="runs")


def _text_length(engine: Engine, tokens: Optional[int]) -> int:
    context = engine.info.context
    length = tokens or min(LONGEST_TEXT, context)
    if length > context:
        raise ContextFullError(
            f"--prefill {length}: the context holds {context}: ask for less, or compile the model with a "
            "longer context"
        )
    return length
