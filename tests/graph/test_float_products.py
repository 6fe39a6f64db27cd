"""Graphs of models whose weights are products of scales and trits and whose activations stay floats: what
transformers computes, and every rule broken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebit.errors import CheckpointError, GraphError, UsageError
from edgebit.graph import build, save
from edgebit.model import Overrides, open_checkpoint
from edgebit.model.scaled_trits import FloatProducts
from edgebit.model.ternary import MasterWeights
from edgebit.model.weights import FolderWeights
from tests.builders import change_tensors, write_checkpoint
from tests.families import VOCABULARY
from tests.float_products import PRODUCTS, float_logits, write_products
from tests.graph.running import Runner
from tests.reference import Floats, divergence

PROMPTS = np.random.default_rng(5).integers(0, VOCABULARY - 3, (2, 40))
SAME = 1e-9  # nothing is rounded
INT8 = Overrides(activation_quantization="int8")


def graph_logits(checkpoint: Path, folder: Path, overrides: Overrides | None = None) -> Floats:
    save(build(open_checkpoint(checkpoint, overrides or Overrides())), folder)
    runner = Runner(folder)
    return runner.step(PROMPTS, runner.start(len(PROMPTS)))


@pytest.mark.parametrize("name", PRODUCTS)
def test_graphs_compute_what_transformers_does(name: str, tmp_path: Path) -> None:
    checkpoint = write_products(tmp_path / "model", PRODUCTS[name])
    exact = float_logits(checkpoint, PROMPTS)
    assert divergence(exact, graph_logits(checkpoint, tmp_path / "graph")) <= SAME


def test_float_activations_are_a_rule(tmp_path: Path) -> None:
    """int8 ones are another model: an override, which is recorded."""
    checkpoint = write_products(tmp_path / "model", PRODUCTS["llama, rows"])
    exact = float_logits(checkpoint, PROMPTS)
    assert SAME < divergence(exact, graph_logits(checkpoint, tmp_path / "graph", INT8)) < 1e-2
    assert build(open_checkpoint(checkpoint, INT8)).metadata.overrides == ("activation_quantization int8",)


@pytest.mark.parametrize("name", ["trilm, two shards", "llama, rows", "llama, groups of 32"])
def test_every_scale_matters(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first of a matrix for all of it the same check fails."""
    checkpoint = write_products(tmp_path / "model", PRODUCTS[name])
    found = FloatProducts.scales.fget
    assert found is not None
    monkeypatch.setattr(FloatProducts, "scales", property(lambda self: found(self).reshape(-1)[:1]))
    monkeypatch.setattr(FloatProducts, "scales_shape", (1,))
    exact = float_logits(checkpoint, PROMPTS)
    assert divergence(exact, graph_logits(checkpoint, tmp_path / "graph")) > 1e-3


def test_products_are_not_masters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """absmean of products gives a scale that is a third too small."""
    checkpoint = write_products(tmp_path / "model", PRODUCTS["trilm, one scale"])
    monkeypatch.setattr(
        FolderWeights, "projection", lambda self, name, shape: MasterWeights(self.find(f"{name}.weight"))
    )
    exact = float_logits(checkpoint, PROMPTS)
    assert divergence(exact, graph_logits(checkpoint, tmp_path / "graph")) > 1e-3


def test_int8_activations_with_scales_of_groups_are_refused_by_name(tmp_path: Path) -> None:
    checkpoint = write_products(tmp_path / "model", PRODUCTS["llama, groups of 32"])
    with pytest.raises(
        GraphError, match=r"q_proj\.weight has scales of groups of 32 columns; int8.*quantization none"
    ):
        build(open_checkpoint(checkpoint, INT8))


def test_a_float_model_that_is_not_ternary_is_refused_with_its_error(tmp_path: Path) -> None:
    checkpoint = write_products(tmp_path / "model", PRODUCTS["trilm, one scale"])
    values = np.random.default_rng(0).standard_normal((192, 128)).astype(np.float16)
    change_tensors(checkpoint, **{"model.layers.1.mlp.up_proj.weight": values})
    with pytest.raises(
        CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight: holds more than.*off by \d+"
    ):
        open_checkpoint(checkpoint)


def test_the_override_is_for_files_that_cannot_say(tmp_path: Path) -> None:
    packed = write_checkpoint(tmp_path / "packed", "packed")
    with pytest.raises(UsageError, match="activation_quantization none is for models whose config"):
        open_checkpoint(packed, Overrides(activation_quantization="none"))
    with pytest.raises(UsageError, match="unknown --activation-quantization int4; known are int8, none"):
        Overrides(activation_quantization="int4")
