"""The benchmark of the engine: what it says of a report, and that it measures programs that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engine import answer, bytes_of, rivals, speeds
from tests.runtime.toy_bundle import write_toy_bundle

REPORT = {
    "conditions": {"threads": 2},
    "prefill": {"tokens_per_second": 160.04, "gmac_per_second": 351.0},
    "decode": {
        "tokens_per_second": 33.333,
        "roofline_fraction": 0.81,
        "bytes": {"layers": 521_182_080, "head": 265_600_000.0},
    },
    "memory": {"read_gb_per_second": 31.66},
    "speculation": {"tokens_per_second": 40.0, "accepted": 3, "drafted": 7},
}


def test_speeds_are_shares_of_what_bounds_them() -> None:
    cells = ["2", "160.0", "75%", "33.3", "81%", "31.7 GB/s", "40.0 (3 of 7 right)"]
    assert speeds(REPORT, peak=468.0) == cells
    assert speeds({**REPORT, "speculation": None}, peak=468.0)[-1] == ""
    assert bytes_of(REPORT) == "layers 521 MB, head 266 MB"


def test_a_program_that_answers_is_timed_and_weighed(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle")
    opened, first, resident = answer(bundle, 3, 16)
    assert 0 < opened < first and resident > 1 << 20
    with pytest.raises(SystemExit, match=r"token \d+ is not in the vocabulary"):
        answer(bundle, 10, 1)  # the toy's vocabulary ends before the prompt's tokens


def test_rivals_keep_every_cpu_busy_and_leave() -> None:
    before = children()
    with rivals():
        assert len(children() - before) == len(os.sched_getaffinity(0))
    assert children() <= before


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(child) for child in listed}


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.engine", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "is no bundle" in result.stderr
