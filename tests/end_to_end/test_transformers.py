"""Logits of the bundle against transformers in float32, under the gates of SPEC 6."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgebit.runtime import load
from tests.end_to_end.bundles import Array
from tests.end_to_end.conftest import TinyModel

PROMPTS = [[(seed * 37 + 11 * i * i + i) % 300 for i in range(24)] for seed in range(8)]

# In a process of its own: the package must not compile its helpers, and torch stays out of the other tests.
REFERENCE = """
import json, sys, torch, numpy
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16, attn_implementation="eager")
prompts = torch.tensor(json.loads(sys.argv[2]))
with torch.no_grad():
    narrow = model(prompts).logits.float()
    torch.nn.Module.float(model)
    wide = model(prompts).logits
numpy.savez(sys.argv[3], wide=wide.numpy(), narrow=narrow.numpy())
"""


def log_softmax(logits: Array) -> Array:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)))


def divergence(p: Array, q: Array) -> float:
    """Mean KL(p || q) over tokens."""
    a, b = log_softmax(p), log_softmax(q)
    return float((np.exp(a) * (a - b)).sum(-1).mean())


def test_logits_are_those_of_transformers(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> None:
    output = tmp_path_factory.mktemp("reference") / "logits.npz"
    command = [sys.executable, "-c", REFERENCE, str(tiny.checkpoint), json.dumps(PROMPTS), str(output)]
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr.decode()
    reference = np.load(output)
    with load(tiny.bundle) as model:
        rows = [
            np.frombuffer(model.logits(prompt), np.float32).reshape(len(prompt), -1) for prompt in PROMPTS
        ]
    found, wide = np.stack(rows), reference["wide"]
    floor = divergence(wide, reference["narrow"])
    assert divergence(wide, found) <= 0.3 * floor
    disagree = found.argmax(-1) != wide.argmax(-1)
    margin = np.sort(wide, -1)[..., -1] - np.take_along_axis(wide, found.argmax(-1)[..., None], -1)[..., 0]
    assert (margin[disagree] < 0.2 * wide.std()).all()
