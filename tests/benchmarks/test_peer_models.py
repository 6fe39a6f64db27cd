"""Every engine is given the same weights: the forms of a checkpoint, read back by the readers of others."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest

import edgebit
from benchmarks.peer.checkpoints import first_layers, with_activation, write_masters
from benchmarks.peer.child import PeerError
from benchmarks.peer.gguf_file import write_gguf
from benchmarks.peer.models import Models
from benchmarks.peer.onnxruntime_graph import GraphSession
from edgebit.errors import CheckpointError
from edgebit.model import EMBEDDING, Checkpoint, open_checkpoint, unpack_codes
from edgebit.model.tensor_files import TensorFiles
from tests.builders import TINY, Shape, write_checkpoint

SHAPE = Shape(hidden_size=256, intermediate_size=512, layers=3, heads=4, key_value_heads=2)
TOKENS = [(7 * i + 3) % SHAPE.vocab_size for i in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("peers") / "packed", "packed", SHAPE)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


def weights(checkpoint: Checkpoint, name: str) -> npt.NDArray[np.float32]:
    matrix = checkpoint.projection(name)
    return unpack_codes(matrix.packed()) * np.float32(matrix.scale)


# ---- GGUF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["f16", "bf16"])
def test_gguf_holds_the_trits_scales_and_embedding_of_the_checkpoint(
    checkpoint: Checkpoint, head: str, tmp_path: Path
) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf", head)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert len(tensors) == 2 + 3 * (4 + 7)
    for layer in range(3):
        for ours, theirs in (("self_attn.k_proj", "attn_k"), ("mlp.down_proj", "ffn_down")):
            stored = tensors[f"blk.{layer}.{theirs}.weight"]
            assert stored.tensor_type == gguf.GGMLQuantizationType.TQ2_0
            values = gguf.dequantize(stored.data, stored.tensor_type)
            assert np.array_equal(values, weights(checkpoint, f"model.layers.{layer}.{ours}"))
    stored = tensors["token_embd.weight"]
    embedding = checkpoint.float_tensor(EMBEDDING).astype(np.float32)
    expected = embedding.astype(np.float16) if head == "f16" else embedding
    assert np.array_equal(gguf.dequantize(stored.data, stored.tensor_type), expected)


def test_gguf_codes_are_those_of_the_gguf_package(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf", "f16")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    expected = gguf.quantize(
        weights(checkpoint, "model.layers.1.mlp.up_proj"), gguf.GGMLQuantizationType.TQ2_0
    )
    assert np.array_equal(tensors["blk.1.ffn_up.weight"].data, expected)


def test_gguf_names_the_sizes_and_the_activation(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf", "f16")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    facts = {name: fields[f"bitnet.{name}"].contents() for name in ("block_count", "embedding_length")}
    assert facts == {"block_count": 3, "embedding_length": 256}
    assert fields["bitnet.attention.head_count_kv"].contents() == 2
    assert fields["bitnet.hidden_activation"].contents() == "relu2"


def test_gguf_refuses_rows_that_are_no_whole_blocks(tmp_path: Path) -> None:
    small = open_checkpoint(write_checkpoint(tmp_path / "tiny", "packed", TINY))
    with pytest.raises(CheckpointError, match="rows of 128 weights, TQ2_0 needs whole 256s"):
        write_gguf(small, tmp_path / "model.gguf", "f16")


def test_gguf_refuses_other_architectures(tmp_path: Path) -> None:
    llama = open_checkpoint(write_checkpoint(tmp_path / "llama", "llama", SHAPE))
    with pytest.raises(CheckpointError, match="a BitNet with a tied head"):
        write_gguf(llama, tmp_path / "model.gguf", "f16")


# ---- derived checkpoints ---------------------------------------------------------------------------


def test_the_first_layers_are_the_same_weights(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    first_layers(folder, 2, tmp_path / "cut")
    cut = open_checkpoint(tmp_path / "cut")
    assert cut.config.num_hidden_layers == 2
    name = "model.layers.1.self_attn.o_proj"
    assert np.array_equal(weights(cut, name), weights(checkpoint, name))
    assert np.array_equal(cut.float_tensor(EMBEDDING), checkpoint.float_tensor(EMBEDDING))


def test_another_activation_changes_nothing_else(
    folder: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with_activation(folder, "silu", tmp_path / "silu")
    twin = open_checkpoint(tmp_path / "silu")
    assert twin.config.hidden_act == "silu"
    assert (tmp_path / "silu" / "model.safetensors").samefile(folder / "model.safetensors")


def test_masters_give_the_same_trits_and_nearly_the_same_scale(
    folder: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_masters(folder, "owner/name", tmp_path)
    (snapshot,) = (tmp_path / "models--owner--name" / "snapshots").iterdir()
    masters = open_checkpoint(snapshot)
    assert TensorFiles(snapshot)["model.layers.0.mlp.gate_proj.weight"].dtype == "BF16"
    for name in checkpoint.config.projections:
        made = masters.projection(f"model.layers.2.{name}")
        packed = checkpoint.projection(f"model.layers.2.{name}")
        assert np.array_equal(made.packed(), packed.packed())
        assert abs(made.scale / packed.scale - 1) < 1e-4


# ---- graphs ----------------------------------------------------------------------------------------


def test_a_graph_answers_the_same_token_by_token(folder: Path, tmp_path: Path) -> None:
    session = GraphSession(edgebit.export(folder, tmp_path / "onnx"), 1)
    at_once = session.evaluate_all(TOKENS).argmax(-1)
    session.reset()
    choices = []
    for token in TOKENS:
        session.evaluate([token])
        choices.append(session.choose())
    assert choices == at_once.tolist()


# ---- the work folder -------------------------------------------------------------------------------


def test_models_are_made_once(folder: Path, tmp_path: Path) -> None:
    models = Models(folder, tmp_path, quantizer=None)
    made = models.get("gguf-f16").stat()
    assert Models(folder, tmp_path, quantizer=None).get("gguf-f16").stat() == made
    assert models.get("checkpoint") == folder


def test_a_work_folder_belongs_to_one_checkpoint(folder: Path, tmp_path: Path) -> None:
    Models(folder, tmp_path / "work", quantizer=None)
    other = write_checkpoint(tmp_path / "other", "packed", SHAPE, seed=1)
    with pytest.raises(PeerError, match="models of another checkpoint"):
        Models(other, tmp_path / "work", quantizer=None)
