"""Forms of the lm_head: in planes, with codes or without, the very tokens of the table, in int8 nearly."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgebit
from edgebit.errors import UsageError
from edgebit.inspection import inspect_bundle
from edgebit.lossy import LossyWarning
from tests.builders import TINY, write_checkpoint

PROMPT = [(11 * i * i + 5 * i) % 300 for i in range(101)]
SETTINGS = [
    {},
    {"temperature": 0.9, "seed": 3},
    {"temperature": 1.0, "top_k": 20, "seed": 4},
    {"temperature": 1.1, "min_p": 0.02, "seed": 5},
    {"temperature": 1.0, "top_p": 0.9, "seed": 6},
]


SCREENED = ("exact", "s4")


@pytest.fixture(scope="module", params=["packed", "llama"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a tied table, one with a table of its own for the lm_head."""
    return write_checkpoint(tmp_path_factory.mktemp(request.param) / "checkpoint", request.param, TINY)


@pytest.fixture(scope="module")
def bundles(checkpoint: Path) -> dict[str, Path]:
    folder = checkpoint.parent
    return {
        head: edgebit.compile(checkpoint, output=folder / head, head=head) for head in ("full", *SCREENED)
    }


@pytest.mark.parametrize("head", SCREENED)
def test_planes_give_the_logits_and_the_tokens_of_the_table(head: str, bundles: dict[str, Path]) -> None:
    with edgebit.load(bundles["full"]) as full, edgebit.load(bundles[head]) as screened:
        expected = np.asarray(full.logits(PROMPT)).view(np.uint32)
        np.testing.assert_array_equal(np.asarray(screened.logits(PROMPT)).view(np.uint32), expected)
        for settings in SETTINGS:
            answers = ["".join(m.generate(PROMPT, max_tokens=24, **settings)) for m in (full, screened)]
            assert answers[0] == answers[1]
        assert screened.head_stats.queries > 0 == full.head_stats.queries


def test_the_same_model_gives_the_same_planes_and_codes(checkpoint: Path, bundles: dict[str, Path]) -> None:
    graph = edgebit.export(checkpoint, checkpoint.parent / "graph")
    again = edgebit.compile(graph, output=checkpoint.parent / "again", head="s4")
    for path in sorted(bundles["s4"].rglob("*")):
        if path.is_file():
            assert (again / path.relative_to(bundles["s4"])).read_bytes() == path.read_bytes(), path


def test_codes_stand_beside_the_planes(bundles: dict[str, Path]) -> None:
    """The other weights are the same; the manifest says what both screenings left of the built-in text."""
    exact, s4 = ((bundles[head] / "weights.bin").read_bytes() for head in SCREENED)
    assert s4[64 : len(exact)] == exact[64:]
    plans = [json.loads((bundles[head] / "manifest.json").read_text("utf-8"))["plan"] for head in SCREENED]
    rows, width = 320, 256
    assert len(s4) - len(exact) == rows * (128 + width // 2 + 20)
    assert plans[0]["exact_survivors"] == plans[1]["exact_survivors"] >= 1
    assert plans[1]["s4_survivors"] >= plans[1]["exact_survivors"]
    assert "s4_survivors" not in plans[0]
    assert plans[1]["s4_token_bytes"] > plans[1]["screen_bytes"] == len(s4) - len(exact)
    facts = inspect_bundle(bundles["s4"]).facts
    assert facts["lm_head"] == "s4" and facts["s4_survivors"] == plans[1]["s4_survivors"]


def test_small_tables_are_kept_whole(checkpoint: Path, bundles: dict[str, Path]) -> None:
    bundle = edgebit.compile(checkpoint, output=checkpoint.parent / "auto")
    assert (bundle / "weights.bin").read_bytes() == (bundles["full"] / "weights.bin").read_bytes()


def test_int8_says_that_it_is_lossy_and_what_it_changes(checkpoint: Path, bundles: dict[str, Path]) -> None:
    with pytest.warns(LossyWarning, match=r"likeliest token stays the same at [\d.]+% of \d+ positions"):
        bundle = edgebit.compile(checkpoint, output=checkpoint.parent / "int8", head="int8")
    assert (bundle / "weights.bin").stat().st_size < (bundles["full"] / "weights.bin").stat().st_size
    with edgebit.load(bundle) as rounded, edgebit.load(bundles["full"]) as full:
        ours, theirs = (np.asarray(model.logits(PROMPT)) for model in (rounded, full))
    assert 0 < np.abs(ours - theirs).mean() < 0.1 * theirs.std()


@pytest.mark.slow
def test_an_int8_cache_says_that_it_is_lossy_and_halves_the_cache(
    checkpoint: Path, bundles: dict[str, Path]
) -> None:
    with pytest.warns(LossyWarning, match=r"kv int8 is lossy: .* stays the same at [\d.]+% of \d+ positions"):
        bundle = edgebit.compile(checkpoint, output=checkpoint.parent / "kv", kv="int8")
    with edgebit.load(bundle) as rounded, edgebit.load(bundles["full"]) as full:
        assert rounded.info.cache_bytes < 0.7 * full.info.cache_bytes
        ours, theirs = (np.asarray(model.logits(PROMPT)) for model in (rounded, full))
        rounded._engine.rewind(0)
        single = [np.asarray(rounded._engine.evaluate_all([token]))[0] for token in PROMPT]
    np.testing.assert_array_equal(np.array(single).view(np.uint32), ours.view(np.uint32))
    assert 0 < np.abs(ours - theirs).mean() < 0.1 * theirs.std()


def test_an_unknown_form_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown head 'best'; known are auto, exact, s4, full, int8"):
        edgebit.compile(tmp_path / "nothing", output=tmp_path / "out", head="best")


@pytest.mark.slow
@pytest.mark.arm
def test_screening_finds_the_same_tokens_on_arm(
    checkpoint: Path, bundles: dict[str, Path], arm_python: Path, tmp_path: Path
) -> None:
    head = "s4" if "llama" in checkpoint.parent.name else "exact"
    bundle = edgebit.compile(checkpoint, "arm64", tmp_path / "arm", head=head)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from edgebit_runtime import load\n"
        "model = load(sys.argv[1])\n"
        f"for settings in {SETTINGS}:\n"
        f"    print(list(model.generate({PROMPT[:40]}, max_tokens=8, **settings)))\n"
        "print(model.head_stats)\n"
    )
    answers = {}
    with edgebit.load(bundles[head]) as model:
        texts = [str(list(model.generate(PROMPT[:40], max_tokens=8, **settings))) for settings in SETTINGS]
        answers["host"] = "\n".join([*texts, str(model.head_stats)])
    for cpu in ("cortex-a72", "cortex-a76"):
        result = subprocess.run(
            [str(arm_python), "-c", program, str(bundle)],
            env={**os.environ, "EB_CPU": cpu},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        answers[cpu] = result.stdout.strip()
    assert answers["cortex-a72"] == answers["cortex-a76"] == answers["host"]
