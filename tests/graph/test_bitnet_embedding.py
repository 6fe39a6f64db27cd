"""microsoft/bitnet-embedding-*: a norm in front of every projection, norms of heads, pooling that is said.

The graph in onnxruntime against torch; each rule of the family, broken, is noticed by the same comparison.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebit.errors import CheckpointError, ConfigError
from edgebit.graph import build, save
from edgebit.model import Checkpoint, Overrides, families, open_checkpoint
from edgebit.model.families import Family
from edgebit.model.families.bitnet_embedding import BITNET_EMBEDDING_GEMMA3, BITNET_EMBEDDING_QWEN3
from edgebit.model.gguf import names as gguf_names
from edgebit.pipeline import text_table_of
from tests.builders import END_OF_TEXT, change_tensors
from tests.encoders import NEAR, TEXTS, cosines, embeddings, tokens_of, write_encoder, write_gguf_of
from tests.gguf_files import I2_S, Kinds, Recipe, vocabulary, write_gguf
from tests.reference import Floats
from tests.text.native import EOS, Text

FAMILY: Mapping[str, Family] = {"qwen3": BITNET_EMBEDDING_QWEN3, "gemma3": BITNET_EMBEDDING_GEMMA3}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One of each, none of which says how states are pooled."""
    folder = tmp_path_factory.mktemp("encoders")
    return {name: write_encoder(folder / name, name) for name in FAMILY}


def vectors(checkpoint: Path, folder: Path, pooling: str | None) -> Floats:
    graph = save(build(open_checkpoint(checkpoint, Overrides(pooling=pooling))), folder)
    return embeddings(graph, tokens_of(checkpoint, TEXTS))


def nearness(checkpoint: Path, found: Floats, pooling: str) -> float:
    return min(cosines(checkpoint, found, tokens_of(checkpoint, TEXTS), pooling, half_cache=False))


@pytest.mark.parametrize("name", list(FAMILY))
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_vectors_are_those_of_torch(
    name: str, pooling: str, checkpoints: Mapping[str, Path], tmp_path: Path
) -> None:
    found = vectors(checkpoints[name], tmp_path / "graph", pooling)
    assert nearness(checkpoints[name], found, pooling) >= NEAR


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("qwen3", {"query_norm": None}),
    ("qwen3", {"key_norm": None}),
    ("qwen3", {"projection_norm": None}),
    ("qwen3", {"attention_norm": "post_attention_layernorm", "mlp_norm": "input_layernorm"}),
    ("gemma3", {"norm_offset": 0.0}),
    ("gemma3", {"scales_embedding": False}),
    ("gemma3", {"attention_post_norm": None}),
    ("gemma3", {"mlp_post_norm": None}),
    ("gemma3", {"query_scalar": False}),
    ("gemma3", {"projection_norm": None}),
]


@pytest.mark.parametrize(("name", "rule"), BROKEN)
def test_a_broken_rule_is_noticed(
    name: str,
    rule: dict[str, Any],
    checkpoints: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(families, "FAMILIES", (replace(FAMILY[name], **rule),))
    monkeypatch.setattr(Checkpoint, "verify", lambda checkpoint: None)  # it would name the norm left over
    found = vectors(checkpoints[name], tmp_path / "graph", "mean")
    assert nearness(checkpoints[name], found, "mean") < NEAR


def test_the_norm_of_each_projection_counts(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    """One of the seven, of one layer, made another in the file: torch on the original notices."""
    checkpoint = checkpoints["qwen3"]
    changed = Path(shutil.copytree(checkpoint, tmp_path / "changed"))
    change_tensors(changed, layers__1__self_attn__k_proj__norm__weight=np.ones(96, np.float32))
    found = vectors(changed, tmp_path / "graph", "mean")
    assert nearness(checkpoint, found, "mean") < NEAR
    assert nearness(changed, found, "mean") >= NEAR


# ---- pooling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FAMILY))
def test_pooling_is_never_guessed(name: str, checkpoints: Mapping[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"says how a \w+ pools its states \(no modules.json\)"):
        open_checkpoint(checkpoints[name])


def test_the_files_say_the_pooling(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", "qwen3", "mean_tokens")
    assert nearness(checkpoint, vectors(checkpoint, tmp_path / "graph", None), "mean") >= NEAR


# ---- other models ------------------------------------------------------------------------------------


def test_a_qwen3_that_is_no_bitnet_is_refused(checkpoints: Mapping[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints["qwen3"], tmp_path / "plain"))
    change_tensors(folder, layers__0__mlp__down_proj__norm__weight=None)
    with pytest.raises(CheckpointError, match=r"tensor layers.0.mlp.down_proj.norm.weight is missing"):
        open_checkpoint(folder, Overrides(pooling="last"))


# ---- GGUF --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("gguf") / "model", "qwen3", "lasttoken")


def norms(checkpoint: Checkpoint) -> dict[str, Floats]:
    """Of the last layer."""
    return {
        name: checkpoint.norm_weight(f"model.layers.2.{name}").astype(np.float32)
        for name in checkpoint.layer_norms()
    }


@pytest.mark.parametrize("kind", [I2_S, Kinds.BF16], ids=["I2_S", "masters"])
def test_weights_of_a_gguf_file_are_those_of_the_original(original: Path, kind: int) -> None:
    ours, theirs = open_checkpoint(original), open_checkpoint(write_gguf_of(original, kind))
    for name in ("model.layers.0.self_attn.k_proj", "model.layers.2.mlp.down_proj"):
        expected, found = ours.projection(name), theirs.projection(name)
        np.testing.assert_array_equal(found.packed(), expected.packed())
        assert found.scale == expected.scale
    np.testing.assert_equal(norms(theirs), norms(ours))


def test_norms_of_projections_under_other_names_are_noticed(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs_of = gguf_names._PROJECTIONS
    gate, up = theirs_of["mlp.gate_proj"], theirs_of["mlp.up_proj"]
    swapped = {**theirs_of, "mlp.gate_proj": up, "mlp.up_proj": gate}
    monkeypatch.setattr(gguf_names, "_PROJECTIONS", swapped)
    theirs = open_checkpoint(write_gguf_of(original, I2_S))
    with pytest.raises(AssertionError):
        np.testing.assert_equal(norms(theirs), norms(open_checkpoint(original)))


@pytest.mark.parametrize(("number", "pooling"), [(1, "mean"), (3, "last")])
def test_a_gguf_file_says_its_pooling(original: Path, number: int, pooling: str) -> None:
    path = write_gguf_of(original, I2_S, qwen3__pooling_type=number)
    assert open_checkpoint(path).pooling == pooling
    assert open_checkpoint(path, Overrides(pooling="mean")).pooling == "mean"


def test_a_gguf_file_without_a_known_pooling_is_refused(original: Path) -> None:
    with pytest.raises(ConfigError, match=r"pooling_type is 2, expected 1 \(mean\) or 3 \(last\)"):
        open_checkpoint(write_gguf_of(original, I2_S, qwen3__pooling_type=2))
    with pytest.raises(ConfigError, match=r"how a Qwen3Model pools its states \(no pooling_type\)"):
        open_checkpoint(write_gguf_of(original, I2_S, qwen3__pooling_type=None))


@pytest.mark.parametrize("ends", [True, False])
def test_the_vocabulary_of_a_gguf_file_ends_texts(original: Path, tmp_path: Path, ends: bool) -> None:
    """tokenizer.ggml.add_eos_token, as the converter writes it, in the place of a post-processor."""
    said = vocabulary((original / "tokenizer.json").read_bytes(), "qwen2", None, END_OF_TEXT)
    path = write_gguf_of(original, I2_S, **said, tokenizer__ggml__add_eos_token=ends)
    native = Text(text_table_of(build(open_checkpoint(path.rename(tmp_path / "alone.gguf")))))
    for text, ids in zip(TEXTS, tokens_of(original, TEXTS), strict=True):
        assert native.tokenize(text, EOS) == (ids if ends else ids[:-1])


def test_gemma3_files_that_leave_too_much_out_are_refused(original: Path) -> None:
    path = original / "gemma3.gguf"
    write_gguf(original, path, Recipe("gemma3", projections=I2_S))
    with pytest.raises(ConfigError, match=r"gemma3 with blk.0.attn_q_norm_in.weight: .*the safetensors"):
        open_checkpoint(path)
