"""Measuring a bundle on this machine: `python3 BUNDLE/bench.py`, or `edgebit bench BUNDLE`.

The roofline is the speed that reading allows: bytes a second read by the same threads in the same run,
divided by the bytes that decoding one token reads.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import List, Optional, Sequence

from .bench_conditions import available_cpus, conditions, load_average
from .bench_measure import Bench, Measurement, Progress, choose_workload
from .bench_plan import PlanFacts, read_plan
from .bench_profile import take_profile
from .bench_report import Report
from .engine import TASK_GENERATE, Engine
from .errors import RuntimeModelError
from .integrity import check_bundle
from .program import run_program, show_progress
from .table import text_of


@dataclass(frozen=True)
class Options:
    """What to measure. None: the CPUs worth using; 128 and 64 tokens, or what the context holds."""

    threads: Optional[int] = None
    prefill: Optional[int] = None
    decode: Optional[int] = None
    repeat: int = 5
    profile: bool = False
    sweep: bool = False


def bench(folder: Path, options: Options, progress: Progress) -> Report:
    """Measures a bundle. Raises RuntimeModelError where the bundle or the options do not allow it."""
    load = load_average()
    if options.threads is not None and options.threads < 1:
        raise RuntimeModelError(f"--threads {options.threads}: expected at least 1")
    start = perf_counter()
    manifest = check_bundle(folder)
    if manifest["task"] != TASK_GENERATE:
        raise RuntimeModelError(f"{folder}: bench measures models that answer, this one makes embeddings")
    check_seconds = perf_counter() - start
    plan = read_plan(manifest)
    with closing(_Opened(folder, options.threads, plan, options)) as opened:
        main = opened.measure(progress)
        profiles = take_profile(opened.bench) if options.profile else []
        own_memory_rate = opened.bench.own_memory_rate()
    sweep = _sweep(folder, plan, options, main, progress) if options.sweep else []
    return Report(
        bundle=str(folder),
        model=dict(manifest.get("model", {})),
        plan=plan,
        work=opened.bench.work,
        main=main,
        check_seconds=check_seconds,
        own_memory_rate=own_memory_rate,
        profiles=profiles,
        sweep=sweep,
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


def _sweep(
    folder: Path, plan: PlanFacts, options: Options, main: Measurement, progress: Progress
) -> List[Measurement]:
    """A measurement for every number of threads up to that of the CPUs; `main` stands for its own."""
    measurements = []
    for threads in range(1, available_cpus() + 1):
        if threads == main.threads:
            measurements.append(main)
            continue
        with closing(_Opened(folder, threads, plan, options)) as opened:
            measurements.append(opened.measure(progress))
    return measurements


# ---- the program -------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="bench", description="Measure a bundle on this machine.")
    options.add_argument("bundle", help="the bundle folder")
    options.add_argument("--threads", type=int, metavar="N", help="default: the CPUs worth using")
    options.add_argument("--prefill", type=int, metavar="P", help="tokens of the prompt; default 128")
    options.add_argument("--decode", type=int, metavar="D", help="tokens after it; default 64")
    options.add_argument("--repeat", type=int, default=5, metavar="R", help="repetitions; default 5")
    options.add_argument("--profile", action="store_true", help="show where the time goes, kernel by kernel")
    options.add_argument("--sweep", action="store_true", help="measure every number of threads too")
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return options


def run(arguments: Sequence[str]) -> None:
    chosen = parser().parse_args(arguments)
    options = Options(
        chosen.threads, chosen.prefill, chosen.decode, chosen.repeat, chosen.profile, chosen.sweep
    )
    report = bench(Path(chosen.bundle), options, show_progress)
    show_progress("")
    if chosen.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n\n".join(text_of(table) for table in report.tables()))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program; its errors are one line on stderr and exit code 1 (EDGEBIT_DEBUG=1: with traceback)."""
    return run_program(run, arguments)
