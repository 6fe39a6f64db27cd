"""The plan as facts of the manifest: every step, and exactly the bytes it streams."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgebit.compiler.head_components import calibrate
from edgebit.compiler.head_planes import PlanePacker
from edgebit.compiler.plan import HeadKind, KernelInstance
from edgebit.compiler.summary import summarize
from edgebit.compiler.weights import HEADER
from edgebit.runtime.bench_plan import read_plan
from edgebit.runtime.stats import HeadStats
from tests.builders import GROUPED, ODD, TINY, Shape
from tests.compiler.test_planner import planned, tiny

STREAMED = re.compile(r"(q|o|gate|down)_proj\.weight(\+.*)?(\.block_scale)?$")


@pytest.mark.parametrize("shape", [TINY, ODD, GROUPED])
def test_decoding_streams_the_ternary_matrices_and_their_scales_and_nothing_else(
    tmp_path: Path, shape: Shape
) -> None:
    plan, weights = planned(tiny(tmp_path, shape=shape))
    facts = read_plan({"plan": summarize(plan)})
    streamed = [section for section in weights.sections if STREAMED.search(section.name)]
    assert len(streamed) == 8 * shape.layers
    assert facts.body_bytes == sum(section.size for section in streamed)
    assert facts.ternary_weights == 4 * facts.body_bytes
    begin, end = facts.streamed_offset, facts.streamed_offset + facts.streamed_bytes
    assert HEADER.size <= begin == min(section.offset for section in streamed)
    assert end == max(section.offset + section.size for section in streamed) <= weights.size


def test_every_step_is_named_in_plan_order(tmp_path: Path) -> None:
    plan, _ = planned(tiny(tmp_path))
    facts = read_plan({"plan": summarize(plan)})
    for steps, found in ((plan.decode, facts.decode), (plan.prefill, facts.prefill), (plan.head, facts.head)):
        assert [step.kernel.name for step in steps] == [step.kernel for step in found[: len(steps)]]
    assert [step.kernel for step in facts.head[len(plan.head) :]] == ["lm_head"]
    assert facts.logits_bytes == plan.vocab_size * plan.logits.width * 2
    assert facts.cache_bytes_per_token * plan.context == plan.cache_bytes


@pytest.mark.parametrize("rows", [320, 333])
def test_a_screened_head_reads_its_planes(tmp_path: Path, rows: int) -> None:
    plan, _ = planned(tiny(tmp_path))
    rng = np.random.default_rng(1)
    table = rng.standard_normal((rows, 128)).astype(ml_dtypes.bfloat16)
    components = calibrate(rng.standard_normal((40, 128)).astype(np.float32), lambda: table)
    packer = PlanePacker("embedding", rows, 128, lambda: table, components)
    kernels = {slot: KernelInstance(slot) for slot in ("lm_head", "rows", "screen")}
    head = replace(plan.logits, kind=HeadKind.EXACT, kernels=kernels, plane_width=256)
    facts = read_plan({"plan": summarize(replace(plan, vocab_size=rows, logits=head))})
    assert facts.screen_bytes == packer.screened_bytes
    assert facts.row_bytes == 128 + 192 + 320
    assert facts.logits_bytes == rows * facts.row_bytes
    by_label = {step.label: step.weight_bytes for step in facts.head[len(plan.head) :]}
    assert by_label["screen"] == facts.screen_bytes and by_label["all_logits"] == facts.logits_bytes


def test_codes_are_screened_before_rows_of_the_planes(tmp_path: Path) -> None:
    plan, _ = planned(tiny(tmp_path))
    kernels = {slot: KernelInstance(slot) for slot in ("lm_head", "rows", "screen", "screen_codes")}
    exact, s4 = (
        replace(
            plan,
            vocab_size=333,
            logits=replace(plan.logits, kind=kind, kernels=kernels, plane_width=512),
        )
        for kind in (HeadKind.EXACT, HeadKind.S4)
    )
    before, after = (read_plan({"plan": summarize(each)}) for each in (exact, s4))
    assert after.screen_bytes == 336 * (128 + 256 + 20)
    assert before.refine_bytes == 0 and after.refine_bytes == 128 + 384 + 20
    assert (after.row_bytes, after.logits_bytes) == (before.row_bytes, before.logits_bytes)
    labels = [step.label for step in after.head[len(plan.head) :]]
    assert len(labels) == 13 and labels[7] == "refine"
    again = HeadStats(queries=2, computed_rows=3, refined_rows=5)
    assert after.head_bytes(again) == 2 * after.screen_bytes + 3 * after.row_bytes + 5 * after.refine_bytes


def test_layers_share_their_kinds(tmp_path: Path) -> None:
    """The manifest stays small: as many kinds for two layers as for one."""
    one, two = (
        summarize(planned(tiny(tmp_path / str(layers), shape=replace(TINY, layers=layers)))[0])
        for layers in (1, 2)
    )
    assert one["kinds"] == two["kinds"]
    assert steps(two) - 1 == 2 * (steps(one) - 1)  # but for the embedding


def steps(facts: Any) -> int:
    return len(facts["decode"].split())
