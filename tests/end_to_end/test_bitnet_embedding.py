"""microsoft/bitnet-embedding-*: a norm in front of every projection, norms of heads, pooling that is said.

Vectors against torch; each rule of the family, broken, is noticed by the same comparison.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import edgebit
from edgebit.bundle import parse_manifest
from edgebit.errors import CheckpointError, ConfigError
from edgebit.model import Overrides, families, open_checkpoint
from edgebit.model.families import Family
from edgebit.model.families.bitnet_embedding import BITNET_EMBEDDING_GEMMA3, BITNET_EMBEDDING_QWEN3
from edgebit.model.gguf import weights as gguf_weights
from tests.builders import END_OF_TEXT, change_tensors
from tests.encoders import cosines, tokens_of, write_encoder
from tests.gguf_files import I2_S, Kinds, Recipe, vocabulary, write_gguf

TEXTS = ["a", "turn on the lights", "Zürich, 東京 & Αθήνα: 🙂", "the quick brown fox jumps; " * 9]
NEAR = 0.9995  # SPEC 6: up to three layers
FAMILY: Mapping[str, Family] = {"qwen3": BITNET_EMBEDDING_QWEN3, "gemma3": BITNET_EMBEDDING_GEMMA3}
LAYERS = ["qwen3"]


def vectors(
    checkpoint: Path, folder: Path, pooling: str | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    bundle = edgebit.compile(checkpoint, "host", folder, overrides=Overrides(pooling=pooling))
    with edgebit.load(bundle) as model:
        return np.array(model.embed(TEXTS))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return {name: write_encoder(folder / name, name) for name in LAYERS}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_vectors_are_those_of_torch(
    name: str, pooling: str, checkpoints: Mapping[str, Path], tmp_path: Path
) -> None:
    checkpoint = checkpoints[name]
    found = vectors(checkpoint, tmp_path / "bundle", pooling)
    texts = tokens_of(checkpoint, TEXTS)
    assert min(cosines(checkpoint, found, texts, pooling)) >= NEAR
    other = "mean" if pooling == "last" else "last"
    assert max(cosines(checkpoint, found, texts, other)) < NEAR


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("qwen3", {"query_norm": None, "key_norm": None}),
    ("qwen3", {"projection_norm": None}),
    ("qwen3", {"attention_norm": "post_attention_layernorm", "mlp_norm": "input_layernorm"}),
]


@pytest.mark.parametrize(("name", "rule"), BROKEN)
def test_a_broken_rule_is_noticed(
    name: str,
    rule: dict[str, Any],
    checkpoints: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = replace(FAMILY[name], **rule)
    monkeypatch.setattr(families, "FAMILIES", (broken,))
    monkeypatch.setattr("edgebit.model.checkpoint.Checkpoint.verify", lambda checkpoint: None)
    checkpoint = checkpoints[name]
    found = vectors(checkpoint, tmp_path / "bundle", "last")
    assert min(cosines(checkpoint, found, tokens_of(checkpoint, TEXTS), "last")) < NEAR


def test_the_norm_of_each_projection_counts(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    """One of the seven, of one layer, made another in the file alone: torch on the original notices."""
    checkpoint = checkpoints["qwen3"]
    changed = Path(shutil.copytree(checkpoint, tmp_path / "changed"))
    weight = np.ones(96, np.float32)
    change_tensors(changed, layers__1__self_attn__k_proj__norm__weight=weight)
    found = vectors(changed, tmp_path / "bundle", "mean")
    assert min(cosines(checkpoint, found, tokens_of(checkpoint, TEXTS), "mean")) < NEAR
    assert min(cosines(changed, found, tokens_of(checkpoint, TEXTS), "mean")) >= NEAR


@pytest.mark.parametrize("name", list(FAMILY))
def test_pooling_is_never_guessed(name: str, tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", name)
    with pytest.raises(
        ConfigError, match=r"nothing here says how a \w+ pools its states \(no modules.json\)"
    ):
        edgebit.compile(checkpoint, "host", tmp_path / "bundle")


def test_the_files_say_the_pooling(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", "qwen3", "mean_tokens")
    found = vectors(checkpoint, tmp_path / "bundle")
    assert min(cosines(checkpoint, found, tokens_of(checkpoint, TEXTS), "mean")) >= NEAR


def test_a_qwen3_that_is_no_bitnet_is_refused(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["qwen3"], tmp_path / "plain"))
    change_tensors(folder, layers__0__mlp__down_proj__norm__weight=None)
    with pytest.raises(CheckpointError, match=r"tensor layers.0.mlp.down_proj.norm.weight is missing"):
        edgebit.compile(folder, "host", tmp_path / "bundle", overrides=Overrides(pooling="last"))


# ---- GGUF --------------------------------------------------------------------------------------------

SAME = ("weights.bin", "libmodel.so", "tokenizer.bin")


def write_gguf_of(checkpoint: Path, kind: int, **metadata: Any) -> Path:
    """The file Microsoft's converter makes, tokenizer.json beside it; of another type than I2_S: masters."""
    masters = {} if kind == I2_S else load_file(checkpoint / "model.safetensors")
    said = {"qwen3.pooling_type": 3, **{key.replace("__", "."): value for key, value in metadata.items()}}
    recipe = Recipe("qwen3", projections=kind, norms=Kinds.F16, masters=masters, metadata=said)
    return write_gguf(checkpoint, checkpoint / "model.gguf", recipe)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that says its pooling, and its bundle."""
    folder = tmp_path_factory.mktemp("gguf")
    checkpoint = write_encoder(folder / "model", "qwen3", "lasttoken")
    return checkpoint, edgebit.compile(checkpoint, "host", folder / "bundle")


def test_a_gguf_file_gives_the_bundle_of_its_original(original: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, expected = original
    made = edgebit.compile(write_gguf_of(checkpoint, I2_S), "host", tmp_path / "bundle")
    for name in SAME:
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name


def test_masters_in_a_gguf_file_are_those_of_the_original(original: tuple[Path, Path]) -> None:
    ours = open_checkpoint(original[0])
    theirs = open_checkpoint(write_gguf_of(original[0], Kinds.BF16))
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.2.mlp.down_proj"):
        expected, found = ours.projection(name), theirs.projection(name)
        np.testing.assert_array_equal(found.packed(), expected.packed())
        assert found.scale == expected.scale


def test_norms_of_projections_under_other_names_are_noticed(
    original: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, expected = original
    names = dict(gguf_weights._LAYER_NAMES_OF)
    gate, up = "ffn_gate_norm_in.weight", "ffn_up_norm_in.weight"
    monkeypatch.setattr(gguf_weights, "_LAYER_NAMES_OF", {**names, gate: names[up], up: names[gate]})
    made = edgebit.compile(write_gguf_of(checkpoint, I2_S), "host", tmp_path / "bundle")
    assert (made / "weights.bin").read_bytes() != (expected / "weights.bin").read_bytes()


@pytest.mark.parametrize(("number", "pooling"), [(1, "mean"), (3, "last")])
def test_a_gguf_file_says_its_pooling(original: tuple[Path, Path], number: int, pooling: str) -> None:
    path = write_gguf_of(original[0], I2_S, qwen3__pooling_type=number)
    assert open_checkpoint(path).pooling == pooling
    assert open_checkpoint(path, Overrides(pooling="mean")).pooling == "mean"


def test_a_gguf_file_without_a_known_pooling_is_refused(original: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"pooling_type is 2, expected 1 \(mean\) or 3 \(last\)"):
        open_checkpoint(write_gguf_of(original[0], I2_S, qwen3__pooling_type=2))
    with pytest.raises(ConfigError, match=r"how a Qwen3Model pools its states \(no pooling_type\)"):
        open_checkpoint(write_gguf_of(original[0], I2_S, qwen3__pooling_type=None))


def test_the_vocabulary_of_a_gguf_file_ends_texts(original: tuple[Path, Path], tmp_path: Path) -> None:
    """tokenizer.ggml.add_eos_token, as the converter writes it, in the place of a post-processor."""
    checkpoint, expected = original
    text = (checkpoint / "tokenizer.json").read_bytes()
    said = vocabulary(text, "qwen2", None, END_OF_TEXT) | {"tokenizer.ggml.add_eos_token": True}
    alone = tmp_path / "alone" / "model.gguf"
    alone.parent.mkdir()
    write_gguf_of(checkpoint, I2_S, **said).rename(alone)
    bundle = edgebit.compile(alone, "host", tmp_path / "bundle")
    samples = [parse_manifest((made / "manifest.json").read_text()).self_test for made in (bundle, expected)]
    assert samples[0] == samples[1]


def test_gemma3_files_that_leave_too_much_out_are_refused(original: tuple[Path, Path]) -> None:
    path = original[0] / "gemma3.gguf"
    write_gguf(original[0], path, Recipe("gemma3", projections=I2_S))
    with pytest.raises(ConfigError, match=r"gemma3 with blk.0.attn_q_norm_in.weight: .*the safetensors"):
        open_checkpoint(path)
