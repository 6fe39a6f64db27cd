"""Bundles of families with every part a layer may have, against transformers in float32.

Which rules make a family is tested on its graph (tests/graph/test_families.py); here, that bundles compute
what such graphs say, in one pass and token by token.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebit.compiler import compile_graph, load_target
from edgebit.graph import load as load_graph
from edgebit.graph import save
from edgebit.host_library import this_machine
from edgebit.runtime import load
from tests.end_to_end.bundles import compile_checkpoint
from tests.end_to_end.test_arm import answer
from tests.families import VOCABULARY, is_packed, write_model
from tests.reference import check_logits, divergence, transformers_logits

PROMPTS = np.random.default_rng(3).integers(0, VOCABULARY - 3, (4, 40))


NAMES = [
    "gemma3, bitlinear",
    "gemma3 rms_norm, autobitlinear",
    "llama biases",
    "1bitllm",
    pytest.param("qwen3 rms_norm, bitlinear", marks=pytest.mark.slow),
    pytest.param("falcon-e, bitlinear", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    checkpoint, twin = write_model(tmp_path, name)
    folder = tmp_path / "bundle"
    graph, compiled = compile_checkpoint(checkpoint, folder, this_machine())
    with load(folder) as engine:
        rows = [np.array(engine.logits(prompt.tolist()), np.float32) for prompt in PROMPTS]
    logits = np.stack(rows)
    load_dtype = torch.bfloat16 if is_packed(name) else torch.float32  # SPEC 1.3
    exact, reference = (
        transformers_logits(twin, PROMPTS, torch.float32, half, load_dtype) for half in (False, True)
    )
    assert divergence(exact, logits) <= 1e-3
    check_logits(reference, transformers_logits(twin, PROMPTS, torch.bfloat16), logits)
    again = compile_graph(load_graph(save(graph, tmp_path / "onnx")), this_machine())
    assert again.plan == compiled.plan
    assert again.weights.size == compiled.weights.size
    with load(folder, threads=3) as engine:
        engine._engine.rewind(0)
        for token, expected in zip(PROMPTS[0].tolist(), rows[0], strict=True):
            assert np.array_equal(np.asarray(engine._engine.evaluate_all([token]))[0], expected)


@pytest.mark.slow
@pytest.mark.arm
@pytest.mark.parametrize("name", ["gemma3 rms_norm, autobitlinear", "1bitllm"])
def test_arm_gives_the_tokens_and_the_bits_of_this_machine(
    name: str, arm_python: Path, tmp_path: Path
) -> None:
    """On its oldest tier; every kernel is compared on all of them."""
    checkpoint, _ = write_model(tmp_path, name)
    compile_checkpoint(checkpoint, tmp_path / "here", this_machine())
    compile_checkpoint(checkpoint, tmp_path / "arm", replace(load_target("arm64"), tiers=("neon",)))
    _, *expected = answer(sys.executable, tmp_path / "here")
    tier, *found = answer(str(arm_python), tmp_path / "arm", EB_CPU="cortex-a72")
    assert (tier, found) == ("neon", expected)
