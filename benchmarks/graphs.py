"""Graphs of tensors beside onnxruntime.

``python -m benchmarks.graphs [--threads 1,2] [--rounds N] [--json]``

The models of examples/classifiers with random weights, each exported once and run by both: one input a call,
the same for both, outputs compared first. Engines take turns, round by round; a figure is the median over
rounds, of the milliseconds a call takes and of the processor time it costs in all threads.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import edgebit
from benchmarks.peer.conditions import conditions
from edgebit.errors import EdgebitError
from edgebit.runtime.engine import Engine
from edgebit.runtime.tensors import seeded_inputs

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "classifiers"
MODELS: Mapping[str, tuple[Callable[[Any], nn.Module], tuple[int, ...]]] = {
    "digits": (lambda module: module.classifier(), (1, 1, 8, 8)),
    "keywords": (lambda module: nn.Sequential(module.LogMel(), module.spotter()), (1, 8000)),
}
"""Module of an example: the model that it makes, and the shape of an input."""
LEAST_SECONDS = 0.05  # of a round
LARGEST_ERROR = 1e-2  # of scores: a rounding may tip a code of a quantiser

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Figure:
    """Milliseconds a call."""

    model: str
    engine: str
    threads: int
    ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Contender:
    engine: str
    threads: int
    call: Callable[[], Floats]


def build(name: str, folder: Path) -> tuple[Path, Path]:
    """The ONNX file of an example and its bundle for this machine."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        module = importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model = make(module)
    file = edgebit.export_torch(model, torch.zeros(shape), folder / f"{name}.onnx", ["x"], ["y"])
    return file, edgebit.compile(file, "host", folder / name)


def contenders(file: Path, bundle: Path, threads: Sequence[int]) -> list[Contender]:
    """Both engines with each number of threads."""
    return [one for count in threads for one in (_edgebit(bundle, count), _onnxruntime(file, bundle, count))]


def check(name: str, made: Sequence[Contender]) -> None:
    """Raises EdgebitError where the engines give other outputs: then no time means anything."""
    expected = made[0].call()
    for each in made:
        error = float(np.abs(each.call() - expected).max())
        if not error < LARGEST_ERROR:
            raise EdgebitError(f"{name}: outputs of {each.engine} and {made[0].engine} differ by {error:.3g}")


def _inputs(engine: Engine) -> list[bytes]:
    return list(map(bytes, seeded_inputs(engine.info.inputs, 0)))


def _edgebit(bundle: Path, threads: int) -> Contender:
    engine = Engine(bundle, threads)
    inputs = _inputs(engine)
    return Contender("edgebit", threads, lambda: np.frombuffer(engine.run(inputs)[0], np.float32))


def _onnxruntime(file: Path, bundle: Path, threads: int) -> Contender:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    engine = Engine(bundle, 1)
    x = np.frombuffer(_inputs(engine)[0], np.float32).reshape(engine.info.inputs[0].shape)
    engine.close()
    return Contender("onnxruntime", threads, lambda: np.asarray(session.run(["y"], {"x": x})[0]).reshape(-1))


def measure(name: str, made: Sequence[Contender], rounds: int) -> list[Figure]:
    calls = [_calls(each) for each in made]
    times: list[list[tuple[float, float]]] = [[] for _ in made]
    for _ in range(rounds):
        for each, count, found in zip(made, calls, times, strict=True):
            found.append(_time(each, count))
    figures = []
    for each, found in zip(made, times, strict=True):
        ms, cpu_ms = (1e3 * statistics.median(column) for column in zip(*found, strict=True))
        figures.append(Figure(name, each.engine, each.threads, ms, cpu_ms))
    return figures


def _calls(each: Contender) -> int:
    """So many that a round is long enough."""
    _time(each, 3)
    return max(1, round(LEAST_SECONDS / max(_time(each, 3)[0], 1e-6)))


def _time(each: Contender, calls: int) -> tuple[float, float]:
    """Seconds of a call, and of processors."""
    start, used = perf_counter(), process_time()
    for _ in range(calls):
        each.call()
    return (perf_counter() - start) / calls, (process_time() - used) / calls


def table(figures: Sequence[Figure]) -> Table:
    made = Table(box=None, pad_edge=False)
    for column in ("model", "engine", "threads", "ms", "CPU ms"):
        made.add_column(column, justify="left" if column in ("model", "engine") else "right")
    for each in figures:
        made.add_row(each.model, each.engine, str(each.threads), f"{each.ms:.3f}", f"{each.cpu_ms:.3f}")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.graphs", description=__doc__)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, with commas")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args(arguments)
    threads = [int(count) for count in chosen.threads.split(",")]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            made = contenders(*build(name, Path(folder)), threads)
            check(name, made)
            figures += measure(name, made, chosen.rounds)
    if chosen.json:
        found: Mapping[str, object] = {"figures": list(map(asdict, figures)), "conditions": conditions()}
        print(json.dumps(found, indent=2))
    else:
        Console().print(table(figures))


if __name__ == "__main__":
    main()
