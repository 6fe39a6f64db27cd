"""benchmarks/kernels.py: every job is timed against what bounds it. (How fast it is, no test asserts.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kernels import SHAPES, Job, build, choose_tier, measure
from edgebit.errors import TargetError
from edgebit.schedules.tier import host_architecture, tiers_of


def test_every_job_gets_a_figure(tmp_path: Path) -> None:
    work = [Job(SHAPES[0], 0), Job(SHAPES[1], 0), Job(SHAPES[0], 3), Job(SHAPES[1], 3)]
    program = build(tiers_of(host_architecture())[-1], work, tmp_path)
    for threads in (1, 2):
        figures = list(measure(program, work, threads, rounds=1, megabytes=16))
        assert [figure.kernel for figure in figures] == [job.kernel for job in work]
        assert [(figure.rows, figure.tokens) for figure in figures] == [
            (2560, 1), (13824, 1), (2560, 3), (13824, 3),
        ]  # fmt: skip
        assert all(figure.gmac_per_second > 0 and figure.share_of_peak > 0 for figure in figures)
        assert [figure.share_of_bandwidth is not None for figure in figures] == [True, True, False, False]


def test_the_best_tier_of_this_processor_is_the_default() -> None:
    tiers = tiers_of(host_architecture())
    assert choose_tier(None) in tiers
    assert choose_tier(tiers[-1].name) == tiers[-1]


def test_a_tier_of_another_architecture_is_refused() -> None:
    other = {"x86_64": "neon", "arm64": "avx2"}[host_architecture()]
    with pytest.raises(TargetError, match=f"tier '{other}' is none of this processor's"):
        choose_tier(other)
