"""GGUF files of families with biases, and of Gemma 3 as llama.cpp converts it: the graph of their original.

Originals are compared with transformers in test_families.py. Here the same logits, bit for bit; each rule of
such files, broken in one of them, is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebit.errors import CheckpointError, ConfigError
from edgebit.graph import build, save
from edgebit.model import Overrides, open_checkpoint
from edgebit.model.gguf.keys import ArchitectureKeys
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.model_config import _gemma3
from tests.families import VOCABULARY, write_family
from tests.gguf_files import GEMMA3_NAMES, I2_S, Kinds, Recipe, write_gguf
from tests.graph.running import Runner
from tests.reference import Floats

PROMPTS = np.random.default_rng(7).integers(0, VOCABULARY - 3, (1, 40))
INT8 = Overrides(activation_quantization="int8")


@dataclass(frozen=True)
class Case:
    """``original``: of tests/families.py. ``broken``: changes of the recipe that have to change logits."""

    original: str
    recipe: Recipe
    broken: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def window(key: str, value: int | float | None) -> dict[str, Any]:
    return {"metadata": GEMMA3.metadata | {f"gemma3.{key}": value}}


LLAMA = Recipe("llama", projections=I2_S, permute=True)
GEMMA3 = Recipe(
    "gemma3",
    projections=Kinds.TQ2_0,
    norm_shift=1.0,
    names=GEMMA3_NAMES,
    metadata={"gemma3.attention.sliding_window": 20},
)
CASES = {
    "llama": Case(
        "llama biases, bitlinear", LLAMA, {"biases in the order of heads": {"permute_biases": False}}
    ),
    "qwen3": Case("qwen3 biases, autobitlinear", Recipe("qwen3", projections=I2_S)),
    "gemma3": Case(
        "gemma3 of seven layers, autobitlinear",
        GEMMA3,
        {
            "1 + weight": {"norm_shift": 0.0},
            "a window": window("attention.sliding_window", None),
            "its size": window("attention.sliding_window", 19),
            "every sixth layer": window("attention.sliding_window_pattern", 4),
            "theta of windows": window("rope.freq_base_swa", 20000.0),
            "theta": window("rope.freq_base", 10000.0),
        },
    ),
}


def logits(checkpoint: Path, folder: Path, overrides: Overrides) -> Floats:
    runner = Runner(save(build(open_checkpoint(checkpoint, overrides)), folder))
    return runner.step(PROMPTS, runner.start(batch=1))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    return {name: write_family(folder / name, case.original) for name, case in CASES.items()}


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_file_gives_the_logits_of_its_original(
    name: str, originals: Mapping[str, Path], tmp_path: Path
) -> None:
    case, original = CASES[name], originals[name]
    expected = logits(original, tmp_path / "original", Overrides())
    found = logits(write_gguf(original, original / "m.gguf", case.recipe), tmp_path / "found", INT8)
    np.testing.assert_array_equal(found, expected)
    for number, (rule, change) in enumerate(case.broken.items()):
        path = write_gguf(original, original / "broken.gguf", replace(case.recipe, **change))
        wrong = logits(path, tmp_path / f"broken-{number}", INT8)
        assert not np.allclose(wrong, expected, atol=1e-2), f"without the rule {rule!r} nothing changes"


def test_biases_of_a_file_are_added_as_they_are(originals: Mapping[str, Path]) -> None:
    """Not multiplied by a scale, as those are that AutoBitLinear adds."""
    original = originals["qwen3"]
    path = write_gguf(original, original / "m.gguf", CASES["qwen3"].recipe)
    ours, theirs = open_checkpoint(path, INT8), open_checkpoint(original)
    assert ours.config.biased == theirs.config.biased
    for linear in ours.config.biased:
        name = f"model.layers.1.{linear}"
        scale = theirs.projection(name).scale
        np.testing.assert_array_equal(ours.bias(name) * scale, theirs.bias(name))
        np.testing.assert_array_equal(ours.bias(name), theirs.float_tensor(f"{name}.bias").astype(np.float32))


def test_a_bias_of_one_layer_alone_is_named(originals: Mapping[str, Path]) -> None:
    original = originals["gemma3"]
    lone = {"blk.1.attn_q.bias": np.ones(512, np.float32)}
    path = write_gguf(original, original / "lone.gguf", replace(GEMMA3, vectors=lone))
    with pytest.raises(CheckpointError, match=r"tensor blk\.1\.attn_q\.bias belongs to no gemma3 model"):
        open_checkpoint(path, INT8)
    every = {"blk.0.attn_q.bias": np.ones(512, np.float32)}
    path = write_gguf(original, original / "first.gguf", replace(GEMMA3, vectors=every))
    with pytest.raises(CheckpointError, match=r"tensor blk\.1\.attn_q\.bias is missing"):
        open_checkpoint(path, INT8)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("attention.causal", False, "bidirectional attention is not supported"),
        ("final_logit_softcapping", 30.0, "final_logit_softcapping 30.0 is not supported"),
        ("rope.scaling.type", "linear", "rope.scaling.type is linear"),
    ],
)
def test_what_other_models_of_gemma_have_is_refused(
    key: str, value: Any, complaint: str, originals: Mapping[str, Path]
) -> None:
    original = originals["gemma3"]
    said = GEMMA3.metadata | {f"gemma3.{key}": value}
    path = write_gguf(original, original / "refused.gguf", replace(GEMMA3, metadata=said))
    with pytest.raises(ConfigError, match=complaint):
        open_checkpoint(path, INT8)


@pytest.mark.parametrize(("layers", "heads", "head_dim", "scalar"), [(62, 32, 128, 168), (26, 4, 256, 256)])
def test_scores_are_scaled_by_the_size_of_the_model(
    layers: int, heads: int, head_dim: int, scalar: int
) -> None:
    """As llama.cpp tells Gemma 3 27B, whose config.json says 168, from the others."""
    sizes = {"block_count": layers, "embedding_length": 5376, "attention.head_count": heads}
    values = {f"gemma3.{key}": value for key, value in (sizes | {"attention.key_length": head_dim}).items()}
    keys = ArchitectureKeys(Metadata("m.gguf", values), "gemma3")
    assert _gemma3(keys)["query_pre_attn_scalar"] == scalar
