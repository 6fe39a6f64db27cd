"""microsoft/bitnet-embedding-*: a norm in front of every projection, norms of heads, pooling that is said.

Vectors against torch; each rule of the family, broken, is noticed by the same comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgebit
from edgebit.errors import CheckpointError, ConfigError
from edgebit.model import Overrides, families
from edgebit.model.families import Family
from edgebit.model.families.bitnet_embedding import BITNET_EMBEDDING_GEMMA3, BITNET_EMBEDDING_QWEN3
from tests.builders import change_tensors
from tests.encoders import cosines, tokens_of, write_encoder

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
    import shutil

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
    import shutil

    folder = Path(shutil.copytree(checkpoints["qwen3"], tmp_path / "plain"))
    change_tensors(folder, layers__0__mlp__down_proj__norm__weight=None)
    with pytest.raises(CheckpointError, match=r"tensor layers.0.mlp.down_proj.norm.weight is missing"):
        edgebit.compile(folder, "host", tmp_path / "bundle", overrides=Overrides(pooling="last"))
