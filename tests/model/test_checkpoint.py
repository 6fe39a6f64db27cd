"""Checkpoints as a whole: every layout, sharded or not, from disk or the hub cache; damage is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgebit.errors import CheckpointError, EdgebitError
from edgebit.model import (
    EMBEDDING,
    LM_HEAD,
    CheckpointWarning,
    builtin_model,
    open_checkpoint,
    unpack_codes,
)
from edgebit.model.hub import FILES, locate
from edgebit.model.ternary import MasterWeights, PackedTrits, UnpackedTrits
from tests.builders import (
    GROUPED,
    LAYOUTS,
    ODD,
    TINY,
    Shape,
    absmean,
    change_json,
    change_tensors,
    split_into_shards,
    write_checkpoint,
)

Q_PROJ = "model.layers.1.self_attn.q_proj"
Q_WEIGHT, Q_SCALE = (
    "model__layers__1__self_attn__q_proj__weight",
    "model__layers__1__self_attn__q_proj__weight_scale",
)


def master_projections(folder: Path, shape: Shape) -> dict[str, np.ndarray]:
    """The weights all layouts of one shape and seed are made of."""
    tensors = load_file(write_checkpoint(folder, "master", shape) / "model.safetensors")
    return {name.removesuffix(".weight"): w for name, w in tensors.items() if "_proj" in name}


@pytest.mark.parametrize("shape", [TINY, ODD, GROUPED], ids=["tiny", "odd", "grouped"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_trits_and_multipliers(tmp_path: Path, layout: str, shape: Shape) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / layout, layout, shape))
    for name, weight in master_projections(tmp_path / "expected", shape).items():
        trits, mean = absmean(weight)
        projection = checkpoint.projection(name)
        assert (unpack_codes(projection.packed()) == trits).all(), name
        tolerance = 0 if layout == "master" else 2**-8  # bfloat16 scales
        assert abs(projection.scale - mean) <= tolerance * mean, name


def test_the_kind_of_source_follows_the_stored_dtype(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    assert isinstance(open_checkpoint(folder).projection(Q_PROJ), PackedTrits)
    trits = unpack_codes(open_checkpoint(folder).projection(Q_PROJ).packed())
    change_tensors(folder, **{Q_WEIGHT: trits.astype(ml_dtypes.bfloat16)})
    unpacked = open_checkpoint(folder).projection(Q_PROJ)
    assert isinstance(unpacked, UnpackedTrits)
    assert (unpack_codes(unpacked.packed()) == trits).all()
    change_tensors(folder, **{Q_SCALE: None})
    assert isinstance(open_checkpoint(folder).projection(Q_PROJ), MasterWeights)


@pytest.mark.parametrize("layout", ["master", "llama"])
def test_what_transformers_saves_again_reads_the_same(tmp_path: Path, layout: str) -> None:
    """Its configuration has rope_parameters and dtype; packed BitNet checkpoints it cannot save (5.23)."""
    original = open_checkpoint(write_checkpoint(tmp_path / "original", layout))
    model = AutoModelForCausalLM.from_pretrained(original.path, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "saved")
    AutoTokenizer.from_pretrained(original.path).save_pretrained(tmp_path / "saved")
    saved = open_checkpoint(tmp_path / "saved")
    assert "rope_theta" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved.config == original.config
    assert saved.tokenizer.bos_token_id == original.tokenizer.bos_token_id
    assert saved.tokenizer.stop_token_ids == original.tokenizer.stop_token_ids
    assert saved.tokenizer.chat_template == original.tokenizer.chat_template
    for part in original.config.projections:
        name = f"model.layers.1.{part}"
        assert (saved.projection(name).packed() == original.projection(name).packed()).all()
        assert saved.projection(name).scale == original.projection(name).scale


def test_float_tensors_are_views_of_the_file(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "llama")
    checkpoint, stored = open_checkpoint(folder), load_file(folder / "model.safetensors")
    for name in (EMBEDDING, LM_HEAD, "model.norm.weight", "model.layers.0.input_layernorm.weight"):
        tensor = checkpoint.float_tensor(name)
        assert isinstance(tensor, np.memmap)
        assert tensor.dtype == ml_dtypes.bfloat16
        assert (tensor.view(np.uint16) == stored[name].view(np.uint16)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_read_like_one_file(tmp_path: Path, layout: str) -> None:
    whole = open_checkpoint(write_checkpoint(tmp_path / "whole", layout))
    split_into_shards(write_checkpoint(tmp_path / "shards", layout))
    shards = open_checkpoint(tmp_path / "shards")
    assert (shards.projection(Q_PROJ).packed() == whole.projection(Q_PROJ).packed()).all()
    assert shards.projection(Q_PROJ).scale == whole.projection(Q_PROJ).scale
    assert (shards.float_tensor(EMBEDDING) == whole.float_tensor(EMBEDDING)).all()


def test_a_tied_checkpoint_may_store_its_head_a_second_time(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    change_tensors(folder, lm_head__weight=load_file(folder / "model.safetensors")[EMBEDDING])
    open_checkpoint(folder)


def test_a_wide_embedding_is_rounded_to_bfloat16_with_a_warning(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    wide = np.linspace(-1, 1, TINY.vocab_size * TINY.hidden_size, dtype=np.float32)
    wide = wide.reshape(TINY.vocab_size, TINY.hidden_size)
    change_tensors(folder, model__embed_tokens__weight=wide)
    checkpoint = open_checkpoint(folder)
    changed = int((wide.astype(ml_dtypes.bfloat16).astype(np.float32) != wide).sum())
    told = f"is F32 and was rounded to bfloat16, which changed {changed} of its {wide.size} values"
    with pytest.warns(CheckpointWarning, match=told):
        rows = checkpoint.bfloat16_rows(EMBEDDING)
    assert isinstance(rows, np.memmap)
    assert (rows == wide.astype(ml_dtypes.bfloat16)).all()


def test_a_wide_embedding_of_bfloat16_values_is_taken_silently(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    narrow = open_checkpoint(folder).float_tensor(EMBEDDING)
    change_tensors(folder, model__embed_tokens__weight=narrow.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (open_checkpoint(folder).bfloat16_rows(EMBEDDING) == narrow).all()


def test_no_room_for_a_rounded_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    change_tensors(folder, model__embed_tokens__weight=np.ones((320, 128), np.float32))

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*TMPDIR.*81920 bytes"):
        open_checkpoint(folder).bfloat16_rows(EMBEDDING)


@pytest.mark.parametrize(("layout", "linear_class"), [("packed", "bitlinear"), ("llama", "autobitlinear")])
def test_a_scale_in_the_wrong_sense_is_noticed(tmp_path: Path, layout: str, linear_class: str) -> None:
    """Real multipliers are below one; the reciprocal of a small one is not."""
    folder = write_checkpoint(tmp_path / "model", layout, Shape(hidden_size=512, layers=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_checkpoint(folder)
    quantization = {"quant_method": "bitnet", "linear_class": linear_class}
    change_json(folder / "config.json", quantization_config=quantization)
    with pytest.warns(CheckpointWarning, match=rf"implausible.*check linear_class '{linear_class}'"):
        open_checkpoint(folder)


def damage(layout: str, complaint: str, change: Callable[[Path], None]) -> object:
    return pytest.param(layout, complaint, change, id=complaint)


@pytest.mark.parametrize(
    ("layout", "complaint", "change"),
    [
        damage(
            "packed",
            "tensor model.layers.1.self_attn.q_proj.weight is missing; a BitNetForCausalLM checkpoint",
            lambda f: change_tensors(f, **{Q_WEIGHT: None}),
        ),
        damage(
            "packed",
            "tensor model.layers.1.self_attn.q_proj.weight_scale is missing",
            lambda f: change_tensors(f, **{Q_SCALE: None}),
        ),
        damage(
            "packed",
            "tensor model.layers.1.mlp.ffn_sub_norm.weight is missing",
            lambda f: change_tensors(f, model__layers__1__mlp__ffn_sub_norm__weight=None),
        ),
        damage(
            "llama",
            "tensor lm_head.weight is missing; a LlamaForCausalLM checkpoint",
            lambda f: change_tensors(f, lm_head__weight=None),
        ),
        damage(
            "packed",
            "q_proj.weight is U8 [32, 64], expected U8 [32, 128]",
            lambda f: change_tensors(f, **{Q_WEIGHT: np.zeros((32, 64), np.uint8)}),
        ),
        damage(
            "packed",
            "q_proj.weight is I8 [32, 128], expected BF16 or F16 or F32 [128, 128]",
            lambda f: change_tensors(f, **{Q_WEIGHT: np.zeros((32, 128), np.int8)}),
        ),
        damage(
            "master",
            "q_proj.weight is BF16 [128, 64], expected BF16 or F16 or F32 [128, 128]",
            lambda f: change_tensors(f, **{Q_WEIGHT: np.zeros((128, 64), ml_dtypes.bfloat16)}),
        ),
        damage(
            "packed",
            "q_proj.weight_scale: F32 [2], expected one floating-point number",
            lambda f: change_tensors(f, **{Q_SCALE: np.ones(2, np.float32)}),
        ),
        damage(
            "packed",
            "q_proj.weight_scale: is nan, expected a positive finite scale",
            lambda f: change_tensors(f, **{Q_SCALE: np.full(1, np.nan, np.float32)}),
        ),
        damage(
            "packed",
            "tensor model.norm.weight holds NaN or infinity",
            lambda f: change_tensors(f, model__norm__weight=np.full(128, np.nan, np.float32)),
        ),
        damage(
            "packed",
            "model.norm.weight is BF16 [127], expected BF16 or F16 or F32 [128]",
            lambda f: change_tensors(f, model__norm__weight=np.ones(127, ml_dtypes.bfloat16)),
        ),
        damage(
            "packed",
            "tensor model.layers.1.self_attn.q_norm.weight belongs to no BitNetForCausalLM model",
            lambda f: change_tensors(f, **{Q_WEIGHT.replace("q_proj", "q_norm"): np.ones(32, np.float32)}),
        ),
        damage(
            "llama",
            "tensor model.layers.2.input_layernorm.weight is missing",
            lambda f: change_json(f / "config.json", num_hidden_layers=3),
        ),
    ],
)
def test_what_does_not_fit_the_configuration_is_named(
    tmp_path: Path, layout: str, complaint: str, change: Callable[[Path], None]
) -> None:
    folder = write_checkpoint(tmp_path / "model", layout)
    change(folder)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sources_that_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for source, complaint in (
        (tmp_path / "file", "is a file, expected a checkpoint folder, a .gguf file"),
        (tmp_path / "nowhere", "no such folder"),
        ("not a repo id", "no such folder or .gguf file, and not a repo id like owner/name"),
        (tmp_path, "no config.json"),
    ):
        with pytest.raises(EdgebitError) as caught:
            open_checkpoint(source)
        assert complaint in str(caught.value)


def test_remote_code_is_never_asked_for() -> None:
    assert not any(pattern.endswith(("*", ".py", ".bin", ".pt", ".gguf")) for pattern in FILES)


OPEN = """
from edgebit.model import open_checkpoint
checkpoint = open_checkpoint({!r})
print(checkpoint.name, checkpoint.config.hidden_size)
"""


def open_offline(repository: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Open a hub repository in a new process, whose hub client sees nothing but the cache in ``home``."""
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-W", "error::UserWarning", "-c", OPEN.format(repository)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_repository_in_the_hub_cache_is_opened_without_network(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--somebody--tiny-bitnet"
    shutil.copytree(write_checkpoint(tmp_path / "model", "packed"), cached / "snapshots" / revision)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(revision)
    done = open_offline("somebody/tiny-bitnet", tmp_path)
    assert done.stdout.split() == ["tiny-bitnet", "128"], done.stderr


def test_masters_of_a_llama_say_that_they_are(tmp_path: Path) -> None:
    """As Falcon-E's revision "prequantized": without a quantization_config nothing tells them from floats."""
    packed = open_checkpoint(write_checkpoint(tmp_path / "packed", "llama"))
    folder = write_checkpoint(tmp_path / "master", "llama")
    masters = load_file(write_checkpoint(tmp_path / "bitnet", "master") / "model.safetensors")
    scales = {f"{name}_scale": None for name in masters if name.endswith("_proj.weight")}
    linears = {name: values for name, values in masters.items() if name.endswith("_proj.weight")}
    change_tensors(folder, **linears, **scales)
    found = open_checkpoint(folder)
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"):
        assert (found.projection(name).packed() == packed.projection(name).packed()).all()
    change_json(folder / "config.json", quantization_config=None)
    with pytest.raises(CheckpointError, match=r"more than three values.*need a quantization_config"):
        open_checkpoint(folder)


def test_a_revision_of_a_repository(tmp_path: Path) -> None:
    """Falcon-E keeps packed weights, masters and dequantised ones in revisions of one repository."""
    cached = tmp_path / "hub" / "models--somebody--tiny-bitnet"
    (cached / "refs").mkdir(parents=True)
    for revision, digit, layout in (("main", "1", "packed"), ("prequantized", "2", "master")):
        shutil.copytree(write_checkpoint(tmp_path / layout, layout), cached / "snapshots" / (digit * 40))
        (cached / "refs" / revision).write_text(digit * 40)
    done = open_offline("somebody/tiny-bitnet@prequantized", tmp_path)
    assert done.stdout.split() == ["tiny-bitnet-prequantized", "128"], done.stderr


def test_a_repository_that_cannot_be_reached_is_one_clear_line(tmp_path: Path) -> None:
    done = open_offline("somebody/nothing", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "HubError: somebody/nothing: not in the local cache, and the hub cannot be reached" in last


@pytest.mark.parametrize(
    ("failure", "complaint"),
    [
        (
            ConnectionError("Name or service not known\nmore lines"),
            "cannot be downloaded (Name or service not known)",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_failing_download_is_one_line(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, complaint: str
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise failure

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(EdgebitError) as caught:
        locate("somebody/something")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_builtin_model_is_a_folder_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebit.model.checkpoint.__file__", str(tmp_path / "checkpoint.py"))
    with pytest.raises(CheckpointError, match="not part of this installation; name a model instead"):
        builtin_model()
    write_checkpoint(tmp_path / "builtin", "packed")
    assert open_checkpoint(builtin_model()).config.vocab_size == TINY.vocab_size
