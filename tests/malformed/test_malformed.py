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

Outcome = dict[str, str]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Outcome]]:
    """By kind and case. A case that kills the process is the last one there, and has none."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.malformed.runner"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    dead = [{"failure": f"ended the process ({run.returncode}): {run.stderr[-2000:]}"}]
    found: dict[str, dict[str, Outcome]] = {}
    for case, outcome in zip(lines[::2], lines[1::2] + dead, strict=False):
        found.setdefault(case["kind"], {})[case["case"]] = outcome
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_malformed_file_is_one_line(kind: str, outcomes: dict[str, dict[str, Outcome]]) -> None:
    found = outcomes.get(kind, {})
    wrong = {name: outcome or "was accepted" for name, outcome in found.items() if "error" not in outcome}
    assert not wrong
    assert list(found) == list(KINDS[kind].cases())
    for name, outcome in found.items():
        assert outcome["error"].isprintable(), name
        assert len(outcome["error"]) < 700, name
        assert KINDS[kind].names_what_is_wrong(outcome["error"]), f"{name}: {outcome['error']}"


def test_there_are_enough_of_them() -> None:
    assert sum(len(kind.cases()) for kind in KINDS.values()) >= 300
