"""Folders that appear whole or not at all, also where the process that makes one is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgebit import folders
from edgebit.errors import GraphError
from edgebit.folders import NEW, OLD, replacing

WRITES = """
import sys, time
from pathlib import Path
from edgebit.errors import GraphError
from edgebit.folders import replacing
with replacing(Path(sys.argv[1]), GraphError) as folder:
    (folder / "weights.bin").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process_writes(output: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITES, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def write(output: Path, content: bytes) -> None:
    with replacing(output, GraphError) as folder:
        (folder / "weights.bin").write_bytes(content)


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    output = tmp_path / "made"
    with another_process_writes(output) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [path.name.startswith(".made.partial.") for path in tmp_path.iterdir()] == [True]
    write(output, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (output / "weights.bin").read_bytes() == b"whole"


def test_a_process_that_still_writes_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "made"
    with another_process_writes(output):
        write(output, b"whole")
        (other,) = (path for path in tmp_path.iterdir() if path != output)
        assert (other / NEW / "weights.bin").read_bytes() == b"half"


def test_a_folder_that_a_killed_process_had_moved_away_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, left = tmp_path / "made", tmp_path / ".made.partial.12345678"
    (left / NEW).mkdir(parents=True)
    (left / OLD).mkdir()
    (left / OLD / "weights.bin").write_bytes(b"former")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "swap", fails)
    with pytest.raises(GraphError, match="No space left"):
        write(output, b"never")
    assert (output / "weights.bin").read_bytes() == b"former"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("name", [".made.partial.12345678", ".made.backup"])
def test_folders_that_may_be_of_somebody_else_stay(tmp_path: Path, name: str) -> None:
    inside = "file" if "partial" in name else NEW
    (tmp_path / name / inside).mkdir(parents=True)
    write(tmp_path / "made", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "made"])
