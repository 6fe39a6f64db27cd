"""What `bench` found of a model that is called: as JSON, and as tables of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from .bench_call import CallMeasurement
from .bench_measure import Series
from .bench_profile import Profile
from .bench_report import conditions_table, profile_json, profile_table, resident
from .engine import TASK_RUN
from .table import Table, threads_text


@dataclass(frozen=True)
class CallReport:
    """All figures of one run of `bench`; `main` is of the threads asked for, `sweep` of each number."""

    bundle: str
    model: Dict[str, Any]
    task: str
    tokens: int  # of the text; 0 for a graph of tensors
    main: CallMeasurement
    check_seconds: float  # of every file before anything is opened
    profiles: Sequence[Profile]
    sweep: Sequence[CallMeasurement]
    conditions: Dict[str, Any]

    def as_json(self) -> Dict[str, Any]:
        """Nested objects; milliseconds are of a call, medians unless their key says otherwise."""
        main = self.main
        report: Dict[str, Any] = {
            "bundle": self.bundle,
            "model": self.model,
            "repetitions": len(main.seconds.values),
            self.task: {**self._speed(main.seconds), "calls_per_repetition": main.calls},
            "memory": dict(main.memory),
            "load": {"seconds": main.load_seconds, "check_seconds": self.check_seconds},
            "conditions": self.conditions,
        }
        if self.profiles:
            report["profile"] = {profile.phase: profile_json(profile) for profile in self.profiles}
        if self.sweep:
            report["sweep"] = [
                {"threads": each.threads, self.task: self._speed(each.seconds)} for each in self.sweep
            ]
        return report

    def _speed(self, seconds: Series) -> Dict[str, float]:
        figures = {
            "ms": 1e3 * seconds.median,
            "ms_mean": 1e3 * seconds.mean,
            "ms_std": 1e3 * seconds.std,
            "calls_per_second": 1 / seconds.median,
        }
        if self.tokens:
            figures.update(tokens=self.tokens, tokens_per_second=self.tokens / seconds.median)
        return figures

    def tables(self) -> List[Table]:
        tables = [self._speed_table(), self._facts_table(), conditions_table(self.conditions)]
        tables += [profile_table(profile) for profile in self.profiles]
        if self.sweep:
            rows = [(str(each.threads), *self._figures(each)) for each in self.sweep]
            tables.append(Table("threads", ("threads", *self._columns()), rows, left=()))
        return tables

    def _speed_table(self) -> Table:
        main = self.main
        what = "run" if self.task == TASK_RUN else f"embed, {self.tokens} tokens"
        title = f"{self.model.get('name', self.bundle)}: {threads_text(main.threads)}, {main.tier}"
        return Table(title, ("", *self._columns()), [(what, *self._figures(main))])

    def _columns(self) -> Tuple[str, ...]:
        return ("ms", "mean", "std", "calls/s") + (("tokens/s",) if self.tokens else ())

    def _figures(self, measured: CallMeasurement) -> Tuple[str, ...]:
        seconds = measured.seconds
        times = tuple(f"{1e3 * each:.3f}" for each in (seconds.median, seconds.mean, seconds.std))
        rates = (1.0, self.tokens) if self.tokens else (1.0,)
        return (*times, *(f"{rate / seconds.median:.1f}" for rate in rates))

    def _facts_table(self) -> Table:
        main = self.main
        repetitions = len(main.seconds.values)
        rows = [
            ("measured", f"{repetitions} times {main.calls} calls, one behind the other"),
            ("load", f"{main.load_seconds * 1e3:.1f} ms, after {self.check_seconds * 1e3:.1f} ms of checks"),
            ("memory", resident(main.memory)),
        ]
        return Table("", ("", ""), rows, left=(0, 1))
