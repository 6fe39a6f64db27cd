"""A bundle where it may end up: in a folder of others, run from elsewhere, on one CPU, twice at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.toy_bundle import ANSWER

NOBODY = 65534

LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
with load(sys.argv[1]) as model:
    print(model.info.threads, "".join(model.chat([{"role": "user", "content": "hi"}])).encode())
"""


def start(
    bundle: Path, *before: str, python: str = sys.executable, user: int | None = None
) -> subprocess.Popen[str]:
    """A program that asks a bundle, in another folder."""
    command = [*before, python, "-c", LOAD, str(bundle)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd="/", user=user, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(threads, the answer)"""
    out, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    threads, answer = out.strip().split(" ", 1)
    return int(threads), answer


@pytest.fixture
def read_only(toy_bundle: Path) -> Iterator[Path]:
    """A copy that the user of `user_of` cannot write to; the folder above is open to all."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        bundle = Path(shutil.copytree(toy_bundle, Path(folder) / "bundle"))
        shutil.rmtree(bundle / "edgebit_runtime" / "__pycache__", ignore_errors=True)
        for path in [bundle, *bundle.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield bundle
        for path in [bundle, *bundle.rglob("*")]:
            path.chmod(0o755)


def user_of() -> int | None:
    """Root writes everywhere: somebody else is asked."""
    return NOBODY if os.geteuid() == 0 else None


def starts(python: str) -> bool:
    """Whether that user may run a Python, which can lie in the home of another."""
    try:
        command = [python, "-c", ""]
        return subprocess.run(command, user=user_of(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_a_read_only_folder_is_enough(read_only: Path) -> None:
    python = next((each for each in (sys.executable, "/usr/bin/python3") if starts(each)), None)
    if python is None:
        pytest.skip("no Python can be started by a user without rights")
    before = sorted(read_only.rglob("*"))
    assert finish(start(read_only, python=python, user=user_of()))[1] == str(ANSWER.encode())
    assert sorted(read_only.rglob("*")) == before


@pytest.mark.skipif(shutil.which("taskset") is None, reason="no taskset")
def test_one_cpu_is_one_thread(toy_bundle: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    assert finish(start(toy_bundle, "taskset", "-c", str(cpu))) == (1, str(ANSWER.encode()))


def test_two_processes_at_once_share_a_bundle(toy_bundle: Path) -> None:
    processes = [start(toy_bundle) for _ in range(2)]
    answers = [finish(process)[1] for process in processes]
    assert answers == [str(ANSWER.encode())] * 2
