"""Bundles of models whose activations stay floats, against transformers in float32, in one pass and token by
token. Which rules make such a model is tested on its graph (tests/graph/test_float_products.py).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import edgebit
from edgebit.emulation import find_emulator
from edgebit.host_library import this_machine
from edgebit.model import AS_THE_FILE_SAYS, Overrides
from edgebit.progress import Silent
from edgebit.runtime import load
from tests.end_to_end.bundles import compile_checkpoint
from tests.families import VOCABULARY
from tests.float_products import PRODUCTS, float_logits, write_products
from tests.reference import divergence

PROMPTS = np.random.default_rng(3).integers(0, VOCABULARY - 3, (4, 40))


@pytest.mark.parametrize(
    ("name", "overrides", "largest"),
    [
        # Nothing is rounded to int8: what is left is the float16 cache and the 13 bits of attention.
        ("trilm, two shards", AS_THE_FILE_SAYS, 1e-6),
        ("llama, groups of 32", AS_THE_FILE_SAYS, 1e-6),
        ("qwen3, groups of 64", AS_THE_FILE_SAYS, 1e-6),
        ("llama, rows", Overrides(activation_quantization="int8"), 1e-2),
    ],
    ids=["trilm", "groups", "qwen3", "rows-int8"],
)
def test_logits_are_those_of_transformers(
    name: str, overrides: Overrides, largest: float, tmp_path: Path
) -> None:
    checkpoint, folder = write_products(tmp_path / "model", PRODUCTS[name]), tmp_path / "bundle"
    compile_checkpoint(checkpoint, folder, this_machine(), overrides)
    with load(folder, threads=1) as model:
        rows = [np.array(model.logits(prompt.tolist()), np.float32) for prompt in PROMPTS]
    assert divergence(float_logits(checkpoint, PROMPTS), np.stack(rows)) <= largest
    with load(folder, threads=3) as model:
        for token, expected in zip(PROMPTS[0].tolist(), rows[0], strict=True):
            one = np.asarray(model._engine.evaluate_all([token]))[0]
            np.testing.assert_array_equal(one.view(np.uint32), expected.reshape(-1).view(np.uint32))


@pytest.mark.slow
@pytest.mark.arm
def test_arm_gives_the_bits_of_this_machine(tmp_path: Path) -> None:
    """The self-test compares token ids and the sha256 of all logits, on every emulated processor."""
    if find_emulator("arm64") is None:
        if os.environ.get("EDGEBIT_REQUIRE_ARM") == "1":
            pytest.fail("EDGEBIT_REQUIRE_ARM=1, but qemu-aarch64 is not installed")
        pytest.skip("qemu-aarch64 is not installed (package qemu-user)")
    checkpoint = write_products(tmp_path / "model", PRODUCTS["llama, groups of 32"])
    reports: list[str] = []

    class Reporter(Silent):
        def stage(self, name: str) -> None:
            reports.append(name)

    bundle = edgebit.compile(checkpoint, "arm64", tmp_path / "bundle", context=64, progress=Reporter())
    assert "run self-test" in reports
    assert (bundle / "edgebit-run").is_file()
