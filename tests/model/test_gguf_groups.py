"""GGUF files with scales of groups of columns: Ternary-Bonsai's types, and TQ1_0 and TQ2_0 of such models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, Qwen3Config

import edgebit
from edgebit.errors import CheckpointError, CheckpointWarning, ConfigError, GraphError
from edgebit.graph import build
from edgebit.model import Checkpoint, Overrides, open_checkpoint
from edgebit.model.gguf.container import read_gguf
from edgebit.model.gguf.group_trits import Q2Trits
from edgebit.model.gguf.trits import HeadPermutedRows
from tests.float_products import Products, float_logits, write_products
from tests.gguf_files import PQ2_0, PTQ1_0, Q2_0, Q2_0_OF_128, Kinds, Recipe, write_gguf
from tests.reference import divergence

WIDE = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "head_dim": 64}
KINDS = {
    "Q2_0": (Q2_0, 64),
    "Q2_0 of 128": (Q2_0_OF_128, 128),
    "PQ2_0": (PQ2_0, 128),
    "PTQ1_0": (PTQ1_0, 128),
    "TQ2_0": (Kinds.TQ2_0, 256),
    "TQ1_0": (Kinds.TQ1_0, 256),
}
INT8 = Overrides(activation_quantization="int8")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[type, int], Path]:
    """Float16 products by class and group, as Hugging Face has them."""
    folder = tmp_path_factory.mktemp("originals")
    return {
        (config, group): write_products(
            folder / f"{config.__name__}-{group}", Products(config, torch.float16, 0, group, WIDE)
        )
        for config in (Qwen3Config, LlamaConfig)
        for group in (64, 128, 256)
    }


def write(source: Path, kind: int, **recipe: Any) -> Path:
    """The GGUF of a Hugging Face folder, beside its tokenizer; rows of heads as llama.cpp has them."""
    architecture = "qwen3" if source.name.startswith("Qwen3") else "llama"
    given = {"architecture": architecture, "permute": architecture == "llama", "projections": kind}
    return write_gguf(source, source / f"{kind}.gguf", Recipe(**(given | recipe)))


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.config.activation_quantization == expected.config.activation_quantization == "none"
    for part in expected.config.projections:
        ours, theirs = (c.projection(f"model.layers.0.{part}") for c in (found, expected))
        assert ours.scales_shape == theirs.scales_shape
        np.testing.assert_array_equal(ours.scales, theirs.scales, part)
        np.testing.assert_array_equal(ours.packed(), theirs.packed(), part)
        np.testing.assert_array_equal(ours.rows(3, 7), theirs.rows(3, 7), part)


@pytest.mark.parametrize("config", [Qwen3Config, LlamaConfig], ids=["qwen3", "llama"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_gives_the_trits_and_scales_of_the_original(
    originals: dict[tuple[type, int], Path], config: type, kind: str
) -> None:
    number, group = KINDS[kind]
    original = originals[config, group]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)  # scales of groups tell what activations are
        assert_same(open_checkpoint(write(original, number)), open_checkpoint(original))


@pytest.mark.slow
def test_a_bundle_of_a_file_computes_what_transformers_does(
    originals: dict[tuple[type, int], Path], tmp_path: Path
) -> None:
    original = originals[Qwen3Config, 128]
    bundle = edgebit.compile(write(original, PQ2_0), "host", tmp_path / "bundle")
    prompt = np.random.default_rng(1).integers(0, 300, (1, 30))
    with edgebit.load(bundle) as model:
        logits = np.array(model.logits(prompt[0].tolist()), np.float32)[None]
    assert divergence(float_logits(original, prompt), logits) <= 1e-6


def test_old_files_call_groups_of_128_what_are_groups_of_64_today(
    originals: dict[tuple[type, int], Path],
) -> None:
    """Only the bytes between tensors tell."""
    found = {}
    for kind, group in (KINDS["Q2_0"], KINDS["Q2_0 of 128"]):
        file = read_gguf(write(originals[Qwen3Config, group], kind))
        found[group] = {tensor.dtype for name, tensor in file.tensors.items() if "attn_q.w" in name}
    assert found == {64: {"Q2_0"}, 128: {"Q2_0 of 128"}}


def test_scales_go_with_the_rows_of_heads(
    originals: dict[tuple[type, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = originals[LlamaConfig, 64]
    file = write(original, Q2_0)
    monkeypatch.setattr(HeadPermutedRows, "scales", property(lambda self: self._stored.scales))
    with pytest.raises(AssertionError):
        assert_same(open_checkpoint(file), open_checkpoint(original))


def test_scales_of_groups_need_float_activations(originals: dict[tuple[type, int], Path]) -> None:
    file = write(originals[LlamaConfig, 64], Q2_0)
    with pytest.raises(GraphError, match="scales of groups of 64 columns; int8"):
        build(open_checkpoint(file, INT8))


def test_floats_of_a_llama_are_products_where_activations_are_said_to_be_floats(
    originals: dict[tuple[type, int], Path],
) -> None:
    original = originals[LlamaConfig, 128]
    file = write(original, Kinds.F16)
    assert_same(open_checkpoint(file, Overrides(activation_quantization="none")), open_checkpoint(original))
    with pytest.warns(CheckpointWarning, match="--activation-quantization says int8 or none"):
        assert open_checkpoint(write(original, Kinds.TQ2_0, masters=ones(original))).config
    with pytest.warns(CheckpointWarning):
        masters = open_checkpoint(file).projection("model.layers.0.mlp.up_proj")
    with pytest.raises(CheckpointError, match="more than three values"):
        _ = masters.scale


def ones(original: Path) -> dict[str, Any]:
    """The trits of a checkpoint, all with the scale 1."""
    checkpoint = open_checkpoint(original)
    names = [f"layers.0.{part}" for part in checkpoint.config.projections]
    return {
        f"{name}.weight": np.sign(edgebit.model.unpack_codes(checkpoint.projection(f"model.{name}").packed()))
        for name in names
    }


def test_code_three_is_no_trit(originals: dict[tuple[type, int], Path]) -> None:
    file = write(originals[Qwen3Config, 64], Q2_0)
    tensor = read_gguf(file).tensors["blk.0.ffn_up.weight"]
    content = bytearray(file.read_bytes())
    content[tensor.offset + 5 * 4 * 18 + 18 + 7] |= 0b11  # row 5, second group
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"code 3 \(\+2\) in row 5, columns 64 to 127: the model is not"
    ):
        Q2Trits(read_gguf(file).tensors["blk.0.ffn_up.weight"]).packed()


def test_a_scale_that_is_no_number_is_damage(originals: dict[tuple[type, int], Path]) -> None:
    file = write(originals[Qwen3Config, 64], Q2_0)
    tensor = read_gguf(file).tensors["blk.0.ffn_up.weight"]
    content = bytearray(file.read_bytes())
    content[tensor.offset : tensor.offset + 2] = np.float16(np.inf).tobytes()
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"ffn_up\.weight: has a scale that is no finite number"):
        _ = Q2Trits(read_gguf(file).tensors["blk.0.ffn_up.weight"]).scales


def test_hadamard_transforms_are_refused_by_name(originals: dict[tuple[type, int], Path]) -> None:
    file = write(originals[Qwen3Config, 64], Q2_0, metadata={"prism.hadamard.block_size": 1024})
    with pytest.raises(ConfigError, match=r"prism\.hadamard\.block_size says that activations go through"):
        open_checkpoint(file)
