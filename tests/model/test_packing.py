"""`edgebit quantize`: floats that are products of scales and trits, packed; everything else refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import edgebit
from benchmarks.imports import anonymous
from benchmarks.peer.checkpoints import write_products as write_large_products
from edgebit.compiler import compile_graph
from edgebit.compiler.target import load_target
from edgebit.errors import CheckpointError, ConfigError, UsageError
from edgebit.graph import build
from edgebit.model import AS_THE_FILE_SAYS, Overrides, open_checkpoint
from edgebit.model.packing import pack_checkpoint
from tests.builders import (
    TINY,
    Shape,
    change_json,
    change_tensors,
    split_into_shards,
    write_checkpoint,
    write_json,
)
from tests.float_products import PRODUCTS, float_logits, write_products
from tests.graph.running import Runner
from tests.reference import divergence, transformers_logits

SCALES = {
    "one scale": "tensor",
    "shards": "row",
    "rows": "row",
    "groups of 32": "group of 32",
    "groups of 64": "group of 64",
}


def packed_rows(folder: Path) -> Path:
    return pack_checkpoint(
        write_products(folder / "model", PRODUCTS["llama, rows"]), folder / "packed"
    ).folder


def compiled(folder: Path, overrides: Overrides = AS_THE_FILE_SAYS) -> tuple[bytes, object]:
    """What decides a bundle's logits: the bytes of weights.bin, and the plan."""
    with mock.patch("edgebit.compiler.compile.build_objects", return_value={}):
        model = compile_graph(build(open_checkpoint(folder, overrides)), load_target("host"))
    return b"".join(data for section in model.weights.sections for data in section.chunks()), model.plan


@pytest.mark.parametrize("kind", PRODUCTS)
def test_what_is_written_compiles_to_the_weights_of_the_original(kind: str, tmp_path: Path) -> None:
    source = write_products(tmp_path / "model", PRODUCTS[kind])
    packed = pack_checkpoint(source, tmp_path / "packed")
    expected = next(scales for word, scales in SCALES.items() if word in kind)
    assert packed.granularities == {expected: 14}
    assert packed.size < packed.former_size
    weight = load_file(packed.folder / "model.safetensors")["model.layers.1.mlp.down_proj.weight"]
    assert weight.dtype == np.uint8
    assert open_checkpoint(packed.folder).config.activation_quantization == "none"
    assert compiled(packed.folder) == compiled(source)


def test_activations_of_eight_bits_are_recorded_where_they_are_asked_for(tmp_path: Path) -> None:
    source = write_products(tmp_path / "model", PRODUCTS["trilm, one scale"])
    overrides = Overrides(activation_quantization="int8")
    packed = pack_checkpoint(source, tmp_path / "packed", overrides=overrides)
    assert open_checkpoint(packed.folder).config.activation_quantization == "int8"
    assert compiled(packed.folder) == compiled(source, overrides)
    assert compiled(packed.folder) != compiled(source)


def test_the_logits_are_those_of_transformers(tmp_path: Path) -> None:
    source = write_products(tmp_path / "model", PRODUCTS["llama, rows"])
    edgebit.quantize(source, tmp_path / "packed")
    runner = Runner(edgebit.export(tmp_path / "packed", tmp_path / "graph").parent)
    ids = np.random.default_rng(1).integers(0, 300, (2, 24))
    reference = float_logits(source, ids)
    assert np.abs(runner.step(ids, runner.start(batch=2)) - reference).max() < 1e-4 * reference.std()


def test_masters_are_packed_as_transformers_reads_them(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", "master")
    split_into_shards(source)
    packed = pack_checkpoint(source, tmp_path / "packed")
    assert packed.granularities == {"tensor": 7 * TINY.layers}
    assert compiled(packed.folder) == compiled(source)
    ids = np.random.default_rng(1).integers(0, 300, (1, 24))
    theirs = [transformers_logits(folder, ids, torch.float32) for folder in (source, packed.folder)]
    assert divergence(*theirs) < 1e-3


def test_an_encoder_keeps_its_pooling(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", "master")
    modules = [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    write_json(source / "modules.json", modules)
    (source / "1_Pooling").mkdir()
    write_json(source / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    folder = pack_checkpoint(source, tmp_path / "packed").folder
    assert open_checkpoint(folder).pooling == "mean"


def test_floats_that_are_not_ternary_are_refused_with_their_error(tmp_path: Path) -> None:
    source = write_products(tmp_path / "model", PRODUCTS["trilm, one scale"])
    name = "model.layers.1.mlp.up_proj.weight"
    shape = load_file(source / "model.safetensors")[name].shape
    noise = np.random.default_rng(0).standard_normal(shape)
    change_tensors(source, **{name.replace(".", "__"): noise.astype(np.float16)})
    with pytest.raises(CheckpointError) as caught:
        pack_checkpoint(source, tmp_path / "packed")
    assert name in str(caught.value)
    assert "%" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_packed_or_there_already_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", "packed")
    with pytest.raises(UsageError, match="is packed already"):
        pack_checkpoint(source, tmp_path / "packed")
    products = write_products(tmp_path / "products", PRODUCTS["trilm, one scale"])
    with pytest.raises(UsageError, match="exists; name a new folder"):
        pack_checkpoint(products, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "products"]


@pytest.mark.parametrize(
    ("shape", "complaint"), [((100, 1), r"\[100, 1\], expected"), ((128, 7), r"\[128, 7\], expected")]
)
def test_scales_of_another_shape_are_refused(shape: tuple[int, int], complaint: str, tmp_path: Path) -> None:
    folder = packed_rows(tmp_path)
    scales = np.ones(shape, np.float32)
    change_tensors(folder, model__layers__0__self_attn__q_proj__weight_scale=scales)
    with pytest.raises(CheckpointError, match=complaint):
        open_checkpoint(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_scales_that_are_no_positive_numbers_are_refused(value: float, tmp_path: Path) -> None:
    folder = packed_rows(tmp_path)
    scales = np.full((128, 1), value, np.float32)
    change_tensors(folder, model__layers__0__self_attn__q_proj__weight_scale=scales)
    with pytest.raises(CheckpointError, match="no positive finite number"):
        open_checkpoint(folder)


def test_an_unknown_kind_of_activations_is_refused(tmp_path: Path) -> None:
    folder = packed_rows(tmp_path)
    entry = json.loads((folder / "config.json").read_text())["quantization_config"]
    change_json(folder / "config.json", quantization_config=entry | {"activation_quantization": "int4"})
    with pytest.raises(
        ConfigError, match="activation_quantization 'int4' is not known; known are int8, none"
    ):
        open_checkpoint(folder)


def test_a_large_matrix_is_never_in_memory(tmp_path: Path) -> None:
    shape = Shape(hidden_size=2048, intermediate_size=8192, layers=1, heads=8)
    source = write_large_products(write_checkpoint(tmp_path / "bitnet", "packed", shape), tmp_path / "model")
    before, peaks = anonymous(os.getpid()), [0]
    with mock.patch("edgebit.progress.Silent.advance", lambda *_: peaks.append(anonymous(os.getpid()))):
        pack_checkpoint(source, tmp_path / "packed")
    assert len(peaks) > 20
    assert max(peaks) - before < 100e6  # of 134 MB of float16
