"""Which screened form of the lm_head pays, from what was counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgebit.calibration import Calibration
from edgebit.compiler.head_planes import PlanePacker
from edgebit.compiler.head_s4 import S4Packer
from edgebit.compiler.head_survivors import SurvivorCount, Survivors
from edgebit.compiler.plan import HeadKind, Plan
from edgebit.screening import of_codes, of_planes, s4_pays, sampled_codes
from tests.compiler.test_head_planes import hidden_states, normal
from tests.compiler.test_head_s4 import components_of
from tests.compiler.test_planner import planned, tiny

ROWS, WIDTH = 128256, 2560
PLANE1, CODES, BOTH = 128 + WIDTH * 3 // 4 + 20, 128 + WIDTH // 2 + 20, 128 + 2 * WIDTH
BODY = 521_180_000


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """With the lm_head of 2B-4T."""
    small, _ = planned(tiny(tmp_path))
    head = replace(small.logits, kind=HeadKind.EXACT, plane_width=WIDTH)
    return replace(small, vocab_size=ROWS, logits=head)


def left(rows: float) -> Survivors:
    return Survivors(64, rows, 10 * rows)


def test_bytes_of_a_token_are_those_of_its_screenings_and_of_the_rows_they_leave(plan: Plan) -> None:
    assert of_planes(plan, left(60)).token_bytes == ROWS * PLANE1 + 61 * BOTH
    assert of_codes(plan, left(20), left(4)).token_bytes == ROWS * CODES + 21 * BOTH
    assert of_codes(plan, left(2700), left(60)).token_bytes == ROWS * CODES + 2700 * PLANE1 + 62 * BOTH
    facts = of_codes(plan, left(2700), left(60)).facts
    assert facts["s4_survivors"] == 2700 and facts["s4_survivors_top_40"] == 27000


@pytest.mark.parametrize(
    ("layers", "survivors", "pays"),
    [(0, 100, True), (0, 60000, False), (1, 100, False)],
    ids=["a table alone", "codes that leave half of it", "behind a body as large as the table"],
)
def test_codes_pay_where_they_save_as_large_a_share_as_they_add(
    plan: Plan, layers: int, survivors: float, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebit.screening.streamed_bytes", lambda step: layers * BODY / len(plan.decode))
    compiled: Any = SimpleNamespace(plan=plan, weights=SimpleNamespace(size=ROWS * BOTH + layers * BODY))
    exact, s4 = of_planes(plan, left(60)), of_codes(plan, left(survivors), left(60))
    assert s4_pays(compiled, exact, s4) == pays


def test_half_of_the_rows_tells_what_codes_leave(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = normal(rng, 8192, 256)

    def data() -> Any:
        return table.view(ml_dtypes.bfloat16)

    components, states = components_of(table), hidden_states(rng, 24, 256)
    calibration = Calibration(components, states, Any, tmp_path)  # type: ignore[arg-type]
    planes, codes = (SurvivorCount(8192, states, components, rotated) for rotated in (False, True))
    PlanePacker("e", 8192, 256, data, components, planes)
    S4Packer("e", 8192, 256, data, components, codes)
    sampled, whole = sampled_codes(calibration, data, planes), codes.result(data)
    assert sampled.states == whole.states == 24
    assert sampled.greedy == pytest.approx(whole.greedy, rel=0.5)
    assert sampled.top_k == pytest.approx(whole.top_k, rel=0.2)
