"""The parent's side of worker.py: which interpreter has an engine, and one open model in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.peer.registry import Contender, Engine
from benchmarks.peer.session import Floats
from benchmarks.peer.worker import Timing
from edgebit.errors import EdgebitError

ROOT = Path(__file__).parents[2]
WORKER = "benchmarks.peer.worker"
_VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


class PeerError(EdgebitError):
    """An engine that is installed does not open or run the model."""


@dataclass(frozen=True)
class Installed:
    """An engine and the interpreter that has it."""

    engine: Engine
    python: str
    version: str


@cache
def find(engine: Engine, pythons: tuple[str, ...]) -> Installed | None:
    """The first interpreter in which the engine's package is installed."""
    for python in pythons:
        found = subprocess.run([python, "-c", _VERSION, engine.package], capture_output=True, text=True)
        if found.returncode == 0:
            return Installed(engine, python, found.stdout.strip())
    return None


def interpreters(others: Sequence[str]) -> tuple[str, ...]:
    """This one, then `others`. Raises PeerError for what is no interpreter."""
    for python in others:
        if not os.access(python, os.X_OK):
            raise PeerError(f"--peer-python {python}: is no program; give the path of a Python interpreter")
    return (sys.executable, *others)


@dataclass(frozen=True)
class Answers:
    """Logits [tokens, vocab_size] of one prefill, the tokens [tokens] chosen when decoding one by one, and
    the logits of the same tokens after a prefill as long as the one that is timed.
    """

    logits: Floats
    choices: Any
    after_long: Floats


class Child:
    """A contender on `threads` threads with its model open. Close it, or use `with`."""

    def __init__(self, contender: Contender, installed: Installed, model: Path, threads: int) -> None:
        self.name = contender.name
        self._messages = TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as the child
        module = installed.engine.module
        self._process = subprocess.Popen(
            [installed.python, "-m", WORKER, module, str(model), str(threads), contender.variant],
            cwd=ROOT,
            env=child_environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
        )
        self._receive()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        self._messages.close()

    def prefill(self, ids: Sequence[int]) -> Timing:
        return Timing(**self._ask(do="prefill", ids=list(ids)))

    def decode(self, prompt: Sequence[int], ids: Sequence[int]) -> Timing:
        return Timing(**self._ask(do="decode", prompt=list(prompt), ids=list(ids)))

    def answers(self, ids: Sequence[int], long: Sequence[int]) -> Answers:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "answers.npz"
            self._ask(do="logits", ids=list(ids), long=list(long), file=str(file))
            with np.load(file) as arrays:
                return Answers(arrays["logits"], arrays["choices"], arrays["after_long"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the child died: _receive says of what
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read().strip().splitlines() or ["no message"]
        raise PeerError(f"{self.name}: exit status {self._process.returncode}, {lines[-1]}")


def child_environment(threads: int) -> dict[str, str]:
    """OpenMP decides at start; the child imports `benchmarks`, and edgebit where it is not installed."""
    return os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
