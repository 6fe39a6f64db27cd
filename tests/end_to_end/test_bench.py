"""`bench` of a screened lm_head: its parts have names, and its bytes are those of the counters."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgebit
from edgebit.runtime.bench import Options, bench
from edgebit.runtime.bench_profile import BEHIND_THE_PLAN
from tests.builders import write_checkpoint


@pytest.mark.slow
def test_a_screened_head_is_measured_part_by_part(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "packed")
    bundle = edgebit.compile(checkpoint, output=tmp_path / "bundle", head="exact")
    report = bench(bundle, Options(2, 10, 6, 2, profile=True), lambda text: None)
    _, decode = report.profiles
    labels = {cost.step.label: cost for cost in decode.costs}
    assert not any(cost.step.kernel == BEHIND_THE_PLAN for cost in decode.costs)
    assert {"query", "screen", "rank", "leaders", "select", "gather", "survivors"} <= set(labels)
    assert labels["screen"].calls == 6
    assert labels["screen"].step.kernel == "head_screen"
    assert labels["screen"].step.weight_bytes == report.plan.screen_bytes > 0
    head, size = report.main.head, report.main.token_bytes.head
    assert head.found == 2 * (1 + 6 + 6) and head.queries > 0
    assert size == report.plan.head_bytes(head) / head.found
