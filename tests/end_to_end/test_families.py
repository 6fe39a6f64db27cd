"""Bundles of every family against transformers in float32, and each special rule broken on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgebit.host_library import this_machine
from edgebit.runtime import load
from tests.end_to_end.bundles import compile_checkpoint
from tests.families import RECIPES, VOCABULARY, write_family
from tests.reference import Floats, check_logits, divergence, transformers_logits

PROMPTS = np.random.default_rng(3).integers(0, VOCABULARY - 3, (4, 40))


def bundle_logits(checkpoint: Path, folder: Path) -> Floats:
    """Logits of the prompts, each in one prefill; token by token they are the same bits."""
    compile_checkpoint(checkpoint, folder, this_machine())
    with load(folder) as engine:
        rows = [np.array(engine.logits(prompt.tolist()), np.float32) for prompt in PROMPTS]
    return np.stack(rows)


@pytest.mark.parametrize("name", RECIPES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    checkpoint = write_family(tmp_path / "model", name)
    logits = bundle_logits(checkpoint, tmp_path / "bundle")
    exact = transformers_logits(checkpoint, PROMPTS, torch.float32)
    assert divergence(exact, logits) <= 1e-3
    reference = transformers_logits(checkpoint, PROMPTS, torch.float32, half_cache=True)
    narrow = transformers_logits(checkpoint, PROMPTS, torch.bfloat16)
    check_logits(reference, narrow, logits)
