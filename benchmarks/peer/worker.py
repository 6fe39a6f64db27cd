"""The child process of one engine: ``python -m benchmarks.peer.worker MODULE MODEL THREADS VARIANT``.

One JSON request a line on stdin, one JSON answer a line on what was stdout (engines print there too: their
output goes to stderr). The first answer tells that the model is open. Requests are
``{"do": "logits", "ids": […], "long": […], "file": F}``, ``{"do": "prefill", "ids": […]}`` and
``{"do": "decode", "prompt": […], "ids": […]}``; every answer to a timing is a `Timing`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer.session import Session


@dataclass(frozen=True)
class Timing:
    """Seconds of one timed run, of the CPU this process used in it, and of the CPU all others used."""

    seconds: float
    cpu_seconds: float
    other_cpu_seconds: float


def busy_cpu_seconds() -> float:
    """CPU seconds all processes of this machine have used since it started; counted in 1/100 s."""
    with open("/proc/stat") as file:  # noqa: PTH123 - read between two timings: no objects in between
        user, nice, system, _, _, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measure(run: Callable[[], None]) -> Timing:
    busy, cpu, start = busy_cpu_seconds(), time.process_time(), time.perf_counter()
    run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Timing(seconds, cpu, max(0.0, busy_cpu_seconds() - busy - cpu))


def time_prefill(session: Session, ids: Sequence[int]) -> Timing:
    """From an empty cache to the first token chosen."""
    session.reset()

    def run() -> None:
        session.evaluate(ids)
        session.choose()

    return measure(run)


def time_decode(session: Session, prompt: Sequence[int], ids: Sequence[int]) -> Timing:
    """Appends `ids` one by one and chooses after each. The choices are not followed: equal work for all."""
    session.reset()
    session.evaluate(prompt)
    session.choose()

    def run() -> None:
        for token in ids:
            session.evaluate([token])
            session.choose()

    return measure(run)


def write_logits(session: Session, ids: Sequence[int], long: Sequence[int], file: Path) -> None:
    """`file`.npz: ``logits`` [len(ids), vocab_size] of one prefill, ``choices`` of decoding one by one, and
    ``after_long`` [len(ids), vocab_size] of the same tokens after a prefill of `long`.
    """
    session.reset()
    logits = session.evaluate_all(ids)
    session.reset()
    choices = []
    for token in ids:
        session.evaluate([token])
        choices.append(session.choose())
    session.reset()
    session.evaluate(long)
    np.savez(file, logits=logits, choices=np.array(choices), after_long=session.evaluate_all(ids))


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "logits":
        write_logits(session, request["ids"], request["long"], Path(request["file"]))
        return {}
    if request["do"] == "prefill":
        return asdict(time_prefill(session, request["ids"]))
    return asdict(time_decode(session, request["prompt"], request["ids"]))


def main() -> None:
    module, model, threads, variant = sys.argv[1:]
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        session: Session = importlib.import_module(module).open_session(Path(model), int(threads), variant)
        print("{}", file=replies, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(session, json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
