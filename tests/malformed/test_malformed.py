"""Damaged and hostile files of every format end in one line that says what is wrong: never in a traceback of
another kind, a dead process, 1 GB of memory or 10 s of work (`runner` holds them to that).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.malformed.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_malformed_file_is_one_line(kind: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.malformed.runner", kind],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    names, outcomes = [line["case"] for line in lines[::2]], lines[1::2]
    assert run.returncode == 0, f"ended within {names[-1:]} ({run.returncode}): {run.stderr[-2000:]}"
    assert names == list(KINDS[kind].cases())
    wrong = {
        name: found or "was accepted"
        for name, found in zip(names, outcomes, strict=True)
        if "error" not in found
    }
    assert not wrong
    for name, found in zip(names, outcomes, strict=True):
        assert found["error"].isprintable(), name
        assert len(found["error"]) < 700, name
        assert KINDS[kind].names_what_is_wrong(found["error"]), f"{name}: {found['error']}"


def test_there_are_enough_of_them() -> None:
    assert sum(len(kind.cases()) for kind in KINDS.values()) >= 300
