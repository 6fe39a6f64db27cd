"""Measuring a bundle on this machine: `python3 BUNDLE/bench.py`, or `edgebit bench BUNDLE`.

Of a model that answers: prompts, decoding and reading. The roofline is the speed that reading allows: bytes a
second read by the same threads in the same run, divided by the bytes that decoding one token reads.
Of one that embeds texts or runs tensors: the time of a call (bench_call.py).
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar, Union

from .bench_call import CallBench, CallMeasurement
from .bench_call_report import CallReport
from .bench_conditions import available_cpus, conditions, load_average
from .bench_measure import Bench, Measurement, Progress, choose_workload
from .bench_plan import PlanFacts, read_plan
from .bench_profile import take_profile
from .bench_report import Report
from .engine import TASK_GENERATE, TASK_RUN, Engine
from .errors import RuntimeModelError
from .integrity import check_bundle
from .model import DOES
from .program import parser_of, run_program, show_progress
from .table import text_of


@dataclass(frozen=True)
class Options:
    """What to measure. None: the CPUs worth using; 128 and 64 tokens, or what the context holds. A model that
    embeds takes `prefill` as the tokens of its text, and one of tensors neither.
    """

    threads: Optional[int] = None
    prefill: Optional[int] = None
    decode: Optional[int] = None
    repeat: int = 5
    profile: bool = False
    sweep: bool = False


def bench(folder: Path, options: Options, progress: Progress) -> Union[Report, CallReport]:
    """Measures a bundle. Raises RuntimeModelError where the bundle or the options do not allow it."""
    load = load_average()
    if options.threads is not None and options.threads < 1:
        raise RuntimeModelError(f"--threads {options.threads}: expected at least 1")
    start = perf_counter()
    manifest = check_bundle(folder)
    check_seconds = perf_counter() - start
    if manifest["task"] != TASK_GENERATE:
        return _bench_calls(folder, options, progress, manifest, check_seconds, load)
    plan = read_plan(manifest)

    def measured(threads: int) -> Measurement:
        with closing(_Opened(folder, threads, plan, options)) as each:
            return each.measure(progress)

    with closing(_Opened(folder, options.threads, plan, options)) as opened:
        main = opened.measure(progress)
        profiles = take_profile(opened.bench) if options.profile else []
        own_memory_rate = opened.bench.own_memory_rate()
    return Report(
        bundle=str(folder),
        model=dict(manifest.get("model", {})),
        plan=plan,
        work=opened.bench.work,
        main=main,
        check_seconds=check_seconds,
        own_memory_rate=own_memory_rate,
        profiles=profiles,
        sweep=_sweep(measured, main) if options.sweep else [],
        conditions=conditions(main.tier, main.threads, main.cpu_share, manifest, load),
    )


class _Opened:
    """An engine of its own number of threads, and how long it took to open."""

    def __init__(self, folder: Path, threads: Optional[int], plan: PlanFacts, options: Options) -> None:
        start = perf_counter()
        self._engine = Engine(folder, threads)
        self._seconds = perf_counter() - start
        context = self._engine.info.context
        work = choose_workload(context, options.prefill, options.decode, options.repeat)
        self.bench = Bench(self._engine, plan, work)

    def measure(self, progress: Progress) -> Measurement:
        return self.bench.measure(self._seconds, progress)

    def close(self) -> None:
        self._engine.close()


AnyMeasurement = TypeVar("AnyMeasurement", Measurement, CallMeasurement)


def _sweep(measured: Callable[[int], AnyMeasurement], main: AnyMeasurement) -> List[AnyMeasurement]:
    """A measurement for every number of threads up to that of the CPUs; `main` stands for its own."""
    counts = range(1, available_cpus() + 1)
    return [main if threads == main.threads else measured(threads) for threads in counts]


def _bench_calls(
    folder: Path,
    options: Options,
    progress: Progress,
    manifest: Dict[str, Any],
    check_seconds: float,
    load: List[float],
) -> CallReport:
    """Of a model that is called."""
    task = manifest["task"]
    _check_call_options(task, options)

    def measured(threads: int) -> CallMeasurement:
        with closing(_OpenedCall(folder, threads, manifest, options)) as each:
            return each.measure(progress)

    with closing(_OpenedCall(folder, options.threads, manifest, options)) as opened:
        main = opened.measure(progress)
        profiles = [opened.bench.profile(main.calls)] if options.profile else []
    return CallReport(
        bundle=str(folder),
        model=dict(manifest.get("model", {})),
        task=task,
        tokens=opened.bench.tokens,
        main=main,
        check_seconds=check_seconds,
        profiles=profiles,
        sweep=_sweep(measured, main) if options.sweep else [],
        conditions=conditions(main.tier, main.threads, main.cpu_share, manifest, load),
    )


def _check_call_options(task: str, options: Options) -> None:
    """Raises RuntimeModelError for options that say nothing of a model that is called."""
    given = {"prefill": options.prefill, "decode": options.decode, "repeat": options.repeat}
    for name, value in given.items():
        if value is None:
            continue
        if name == "decode" or (name == "prefill" and task == TASK_RUN):
            raise RuntimeModelError(f"--{name} {value}: this model {DOES[task]}, there is nothing to {name}")
        if value < 1:
            raise RuntimeModelError(f"--{name} {value}: expected at least 1")


class _OpenedCall:
    """As `_Opened`, of a model that is called."""

    def __init__(
        self, folder: Path, threads: Optional[int], manifest: Dict[str, Any], options: Options
    ) -> None:
        start = perf_counter()
        self._engine = Engine(folder, threads)
        self._seconds = perf_counter() - start
        self._repeat = options.repeat
        self.bench = CallBench(self._engine, manifest, options.prefill)

    def measure(self, progress: Progress) -> CallMeasurement:
        return self.bench.measure(self._seconds, self._repeat, progress)

    def close(self) -> None:
        self._engine.close()


# ---- the program -------------------------------------------------------------------------------------


def parser(bundle: Optional[str] = None) -> argparse.ArgumentParser:
    options = parser_of("bench", "Measure a bundle on this machine.", bundle)
    options.add_argument("--threads", type=int, metavar="N", help="default: the CPUs worth using")
    options.add_argument("--prefill", type=int, metavar="P", help="tokens of the prompt; default 128")
    options.add_argument("--decode", type=int, metavar="D", help="tokens after it; default 64")
    options.add_argument("--repeat", type=int, default=5, metavar="R", help="repetitions; default 5")
    options.add_argument("--profile", action="store_true", help="show where the time goes, kernel by kernel")
    options.add_argument("--sweep", action="store_true", help="measure every number of threads too")
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return options


def run(chosen: argparse.Namespace) -> None:
    options = Options(
        chosen.threads, chosen.prefill, chosen.decode, chosen.repeat, chosen.profile, chosen.sweep
    )
    report = bench(Path(chosen.bundle), options, show_progress)
    show_progress("")
    if chosen.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n\n".join(text_of(table) for table in report.tables()))


def main(arguments: Optional[Sequence[str]] = None, bundle: Optional[str] = None) -> int:
    """The program, for the folder `bundle` or the one that its first argument names.

    arguments None: those of this process. Errors are one line on stderr and exit code 1.
    """
    return run_program(lambda: run(parser(bundle).parse_args(arguments)))
