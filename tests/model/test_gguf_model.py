"""GGUF files as models: each special rule of a kind of file, overrides, and damage of every sort."""

from __future__ import annotations

import json
import random
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import psutil
import pytest

from edgebit.errors import CheckpointError, CheckpointWarning, ConfigError, EdgebitError, UsageError
from edgebit.graph import GraphMetadata, build
from edgebit.model import Checkpoint, Overrides, open_checkpoint
from edgebit.model.gguf.tensor_types import TENSOR_TYPES
from tests.builders import BOS, END_OF_TEXT, Shape, change_json, write_checkpoint
from tests.gguf_files import I2_S, Kinds, Recipe, vocabulary, write_gguf

SHAPE = Shape(hidden_size=256, intermediate_size=256, layers=1, heads=4, key_value_heads=2)
HEAD_DIM = SHAPE.head_size


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("packed") / "packed", "packed", SHAPE)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("llama") / "llama", "llama", SHAPE)


def write(source: Path, path: Path, **recipe: Any) -> Path:
    """The checkpoint as a GGUF with its vocabulary inside."""
    pre = "llama-bpe"
    words = vocabulary((source / "tokenizer.json").read_bytes(), pre, BOS, END_OF_TEXT)
    words["tokenizer.chat_template"] = json.loads((source / "tokenizer_config.json").read_text())[
        "chat_template"
    ]
    recipe["metadata"] = words | recipe.get("metadata", {})
    return write_gguf(source, path, Recipe(**recipe))


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    """Configuration, and the bits of every weight."""
    assert found.config.hidden_act == expected.config.hidden_act
    assert found.config.tie_word_embeddings == expected.config.tie_word_embeddings
    assert found.config.rms_norm_eps == expected.config.rms_norm_eps
    for part in expected.config.projections:
        ours, theirs = (c.projection(f"model.layers.0.{part}") for c in (found, expected))
        assert ours.scale == theirs.scale, part
        assert (ours.packed() == theirs.packed()).all(), part


@pytest.mark.parametrize("kind", [Kinds.TQ1_0, Kinds.TQ2_0, I2_S, Kinds.F16, Kinds.BF16, Kinds.F32])
def test_every_type_of_weights_gives_the_model_of_the_original(
    packed: Path, kind: int, tmp_path: Path
) -> None:
    found, expected = (
        open_checkpoint(p) for p in (write(packed, tmp_path / "m.gguf", projections=kind), packed)
    )
    assert_same(found, expected)
    assert found.name == "m"
    assert found.tokenizer.bos_token_id == expected.tokenizer.bos_token_id
    assert found.tokenizer.stop_token_ids == expected.tokenizer.stop_token_ids
    assert found.tokenizer.chat_template == expected.tokenizer.chat_template


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def rope_factors(theta: float, head_dim: int) -> Any:
    """As convert_hf_to_gguf.py writes rope_freqs.weight for LLAMA3."""
    factors = []
    for exponent in np.arange(0, head_dim, 2) / head_dim:
        wavelength = 2 * np.pi * theta**exponent
        smooth = (64 / wavelength - 1.0) / (4.0 - 1.0)
        between = 1 / ((1 - smooth) / 8.0 + smooth)
        factors.append(1.0 if wavelength < 64 / 4 else 8.0 if wavelength > 64 else between)
    return np.array(factors, np.float32)


def test_rope_scaling_of_llama_3_is_in_a_tensor(llama: Path, tmp_path: Path) -> None:
    def cosines(path: Path) -> Any:
        tensor = build(open_checkpoint(path)).ir.graph.initializers["cos_cache"].const_value
        return np.asarray(tensor.numpy())  # type: ignore[union-attr]

    original = tmp_path / "original"
    shutil.copytree(llama, original)
    change_json(original / "config.json", rope_scaling=LLAMA3)
    factors = rope_factors(SHAPE.rope_theta, HEAD_DIM)
    recipe: dict[str, Any] = {"architecture": "llama", "permute": True}
    scaled = write(llama, tmp_path / "scaled.gguf", **recipe, vectors={"rope_freqs.weight": factors})
    plain = write(llama, tmp_path / "plain.gguf", **recipe)
    broken = write(llama, tmp_path / "broken.gguf", **recipe, vectors={"rope_freqs.weight": -factors})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.abs(cosines(scaled) - cosines(original)).max() < 1e-4
        assert np.abs(cosines(plain) - cosines(original)).max() > 0.5
        with pytest.raises(CheckpointError, match=r"rope_freqs\.weight holds numbers that are not positive"):
            open_checkpoint(broken)


@pytest.mark.parametrize("architecture", ["bitnet-b1.58", "bitnet-25"])
def test_files_of_microsoft_have_squared_relu(packed: Path, architecture: str, tmp_path: Path) -> None:
    assert open_checkpoint(
        write(packed, tmp_path / "m.gguf", architecture=architecture)
    ).config.hidden_act == ("relu2")


def test_files_of_llama_cpp_have_silu_unless_they_or_a_person_say_otherwise(
    packed: Path, tmp_path: Path
) -> None:
    silent = write(packed, tmp_path / "silent.gguf", architecture="bitnet")
    said = {"bitnet.hidden_activation": "relu_sqr"}
    saying = write(packed, tmp_path / "saying.gguf", architecture="bitnet", metadata=said)
    assert open_checkpoint(silent).config.hidden_act == "silu"
    assert open_checkpoint(saying).config.hidden_act == "relu2"
    assert open_checkpoint(silent, Overrides(activation="relu2")).config.hidden_act == "relu2"
    with pytest.raises(
        ConfigError, match=r"hidden_activation is relu_sqr, expected silu, which --activation"
    ):
        open_checkpoint(saying, Overrides(activation="silu"))


def test_heads_of_a_llama_are_put_back_and_those_of_a_bitnet_left(
    llama: Path, packed: Path, tmp_path: Path
) -> None:
    with pytest.warns(CheckpointWarning, match="8 bits per token are taken"):
        found = open_checkpoint(
            write(llama, tmp_path / "m.gguf", architecture="llama", permute=True, projections=I2_S)
        )
    assert_same(found, open_checkpoint(llama))
    wrong = write(packed, tmp_path / "wrong.gguf", permute=True)
    with pytest.raises(AssertionError):
        assert_same(open_checkpoint(wrong), open_checkpoint(packed))
    confirmed = Overrides(model_family="llama")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_checkpoint(tmp_path / "m.gguf", confirmed)


def test_an_arm_file_needs_its_block_size(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "m.gguf", projections=I2_S, i2s_block=64)
    assert_same(open_checkpoint(path, Overrides(i2s_block=64)), open_checkpoint(packed))
    with pytest.raises(AssertionError):
        assert_same(open_checkpoint(path), open_checkpoint(packed))


def test_a_family_is_needed_for_an_unknown_architecture_and_checked(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "m.gguf", architecture="mystery")
    with pytest.raises(ConfigError, match=r"architecture mystery is not supported.*--model-family"):
        open_checkpoint(path)
    with pytest.raises(ConfigError, match="say which with --activation"):
        open_checkpoint(path, Overrides(model_family="bitnet"))
    given = Overrides(model_family="bitnet", activation="relu2")
    assert_same(open_checkpoint(path, given), open_checkpoint(packed))
    with pytest.raises(CheckpointError, match=r"belongs to no llama \(--model-family\) model"):
        open_checkpoint(path, Overrides(model_family="llama"))


def test_overrides_are_recorded_and_refused_where_they_mean_nothing(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "m.gguf", architecture="bitnet")
    metadata = build(open_checkpoint(path, Overrides(activation="relu2"))).metadata
    assert metadata.overrides == ("activation relu2",)
    assert GraphMetadata.from_properties(metadata.to_properties(), "x") == metadata
    for source, overrides, complaint in (
        (packed, {"activation": "relu2"}, "config.json says what this model is"),
        (path, {"i2s_block": 64}, "no tensor here is I2_S"),
    ):
        with pytest.raises(UsageError, match=complaint):
            open_checkpoint(source, Overrides(**overrides))
    with pytest.raises(UsageError, match="unknown --i2s-block 32; known are 128, 64"):
        Overrides(i2s_block=32)


def test_a_tokenizer_beside_the_file_wins(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "m.gguf", metadata={"tokenizer.ggml.model": "llama"})
    with pytest.raises(
        EdgebitError, match=r"tokenizer\.ggml\.scores.*put the model's tokenizer\.json beside the file"
    ):
        open_checkpoint(path)
    (tmp_path / "tokenizer.json").write_bytes((packed / "tokenizer.json").read_bytes())
    assert open_checkpoint(path).tokenizer.tokenizer_json == (packed / "tokenizer.json").read_bytes()


def test_a_folder_stands_for_its_one_file_and_several_are_listed(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "a.gguf")
    assert open_checkpoint(tmp_path).path == path
    (tmp_path / "b.gguf").touch()
    with pytest.raises(CheckpointError, match=r"holds several models, name one of them: a\.gguf, b\.gguf"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("number", "complaint"),
    [
        (38, "type TL1, which is laid out for one build of bitnet.cpp"),
        (39, "type TL2 or MXFP4"),
        (12, "type Q4_K, which holds more than three values"),
        (99, "type 99, which edgebit does not know; it reads F32"),
    ],
)
def test_types_that_are_not_read_are_named_with_the_way_out(
    number: int, complaint: str, tmp_path: Path
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bitnet")
    writer.add_tensor("a", np.zeros(64, np.int8), raw_shape=(1, 256), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "m.gguf")
    assert complaint in str(caught.value)


SMALLER = {34: "TQ1_0", 36: "I2_S", 143: "PTQ1_0"}  # than TQ2_0


@pytest.mark.parametrize("number", SMALLER)
@pytest.mark.parametrize("name", ["blk.0.ffn_up.weight", "blk.0.ffn_down.weight"], ids=["inside", "last"])
def test_a_type_that_leaves_bytes_over_is_not_the_tensors(
    packed: Path, number: int, name: str, tmp_path: Path
) -> None:
    path = write(packed, tmp_path / "m.gguf")
    content = bytearray(path.read_bytes())
    entry = content.index(name.encode()) + len(name)
    assert struct.unpack_from("<IQQI", content, entry) == (2, 256, 256, Kinds.TQ2_0)
    struct.pack_into("<I", content, entry + 20, number)
    path.write_bytes(content)
    declared = rf"tensor {name} is declared as {SMALLER[number]} of \[256, 256\], which takes \d+ bytes"
    with pytest.raises(CheckpointError, match=declared + ", and has 16896, as of TQ2_0; the file is damaged"):
        open_checkpoint(path)


def test_bytes_behind_the_last_tensor_say_nothing(packed: Path, tmp_path: Path) -> None:
    path = write(packed, tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert_same(open_checkpoint(path), open_checkpoint(packed))


def test_files_with_random_damage_are_an_error_or_a_model(packed: Path, tmp_path: Path) -> None:
    """120 of them: cut off anywhere, or numbers of header and metadata replaced by others."""
    whole = write(packed, tmp_path / "m.gguf").read_bytes()
    source, refused = random.Random(1), 0
    path = tmp_path / "damaged.gguf"
    held = psutil.Process().memory_info().rss
    end = whole.rindex(b"weight", 0, 60000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(120):
            damaged = bytearray(whole)
            if turn % 3 == 0:
                del damaged[source.randrange(len(damaged)) :]
            else:
                at = source.randrange(end) if turn % 3 == 1 else source.randrange(200)
                value = source.choice([0, 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1, source.getrandbits(64)])
                damaged[at : at + 8] = struct.pack("<Q", value)
            path.write_bytes(damaged)
            try:
                build(open_checkpoint(path))
            except EdgebitError as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > 60
    assert psutil.Process().memory_info().rss - held < 200e6


def test_every_type_that_is_read_has_the_size_the_gguf_package_gives_it() -> None:
    unknown = (I2_S, 42, 142, 143)  # to the package
    for number, kind in TENSOR_TYPES.items():
        if number not in unknown:
            assert (kind.block, kind.size) == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]
            assert gguf.GGMLQuantizationType(number).name == kind.name


def test_what_metadata_does_not_allow_is_named(packed: Path, tmp_path: Path) -> None:
    for changes, complaint in (
        ({"bitnet-b1.58.block_count": None}, "block_count is missing"),
        ({"bitnet-b1.58.block_count": "two"}, "block_count is 'two', expected an integer"),
        ({"bitnet-b1.58.rope.scaling.type": "yarn"}, "rope.scaling.type is yarn"),
        ({"bitnet-b1.58.rope.dimension_count": 8}, "rope.dimension_count is 8, expected 64"),
        ({"bitnet-b1.58.feed_forward_length": [1, 2]}, "feed_forward_length is an array"),
        ({"bitnet-b1.58.hidden_activation": "gelu"}, "hidden_activation is gelu"),
        ({"bitnet-b1.58.expert_count": 8}, "expert_count is 8, expected 0"),
    ):
        path = write_gguf(packed, tmp_path / "m.gguf", Recipe(metadata=changes))
        with pytest.raises(ConfigError) as caught:
            open_checkpoint(path)
        assert complaint in str(caught.value)
