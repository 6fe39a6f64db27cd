"""safetensors files: the same tensors as the library reads, and no trust in a header's numbers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from edgebit.errors import CheckpointError
from edgebit.model.tensor_files import TensorFiles, read_header


def write_raw(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.uint8, torch.int64], ids=str
)
def test_tensors_written_by_torch_are_mapped_with_their_values(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = (torch.arange(35).reshape(5, 7) % 11).to(dtype)
    save_file(
        {"odd": torch.ones(3, dtype=torch.uint8), "t": tensor, "empty": torch.zeros(0, 4)}, tmp_path / "f"
    )
    header = read_header(tmp_path / "f")
    mapped = header["t"].map()
    assert isinstance(mapped, np.memmap)
    assert (mapped.astype(np.float32) == tensor.float().numpy()).all()
    assert (mapped.dtype == ml_dtypes.bfloat16) == (dtype == torch.bfloat16)
    assert header["empty"].map().shape == (0, 4)


@given(cut=st.integers(0, 300))
def test_a_truncated_file_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    save_file({"a": torch.ones(8, 4), "b": torch.ones(16)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content) - 1)])
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_an_error_or_no_tensors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("foreign") / "model.safetensors"
    for content in (data, len(data).to_bytes(8, "little") + data):
        path.write_bytes(content)
        with suppress(CheckpointError):
            assert read_header(path) == {}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}, "8 bytes for shape [4] of F32, expected 16"),
        ({"dtype": "F32", "shape": [-4], "data_offsets": [0, -16]}, "-16 bytes for shape [-4] of F32"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}, "16 bytes for shape [4]"),
        ({"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}, "dtype F4 is not known"),
        ({"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}, "the file ends 16 bytes too early"),
        ({"dtype": "F32", "shape": [4]}, "malformed header entry"),
        ({"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}, "malformed header entry"),
        ({"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 16]}, "malformed header entry"),
        ([1, 2], "malformed header entry"),
    ],
)
def test_a_lying_header_entry_is_refused(tmp_path: Path, entry: Any, complaint: str) -> None:
    path = write_raw(tmp_path / "model.safetensors", {"t": entry}, bytes(16))
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert complaint in str(caught.value)
    assert "tensor t" in str(caught.value)


def test_a_header_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="header: holds a list"):
        read_header(write_raw(tmp_path / "f", [1]))
    with pytest.raises(CheckpointError, match="header: not valid JSON"):
        read_header(write_raw(tmp_path / "f", b"\xff\xfe"))
    with pytest.raises(CheckpointError, match="header: not valid JSON"):
        read_header(write_raw(tmp_path / "f", b"[" * 100_000))


def test_an_index_is_believed_only_as_far_as_its_shards_go(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    for weight_map, complaint in (
        ({"a": "two.safetensors"}, "shard two.safetensors is missing"),
        ({"b": "one.safetensors"}, "tensor b is not in one.safetensors"),
        ({"a": "../one.safetensors"}, "is not a plain file name"),
        ({}, 'no "weight_map"'),
        ([], 'no "weight_map"'),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(CheckpointError) as caught:
            TensorFiles(tmp_path)
        assert complaint in str(caught.value)


def test_a_folder_without_weights_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"
    ):
        TensorFiles(tmp_path)
