"""`edgebit export`: as a folder, or as a file beside other things."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgebit
from edgebit.errors import EdgebitError, UsageError
from edgebit.pipeline import open_graph
from tests.builders import write_checkpoint

FILES = {"model.onnx", "model.onnx.data", "tokenizer.json"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", "packed")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("output", ["graph", "graph/model.onnx", "deep/er/model.onnx"])
def test_the_graph_and_what_it_needs_are_written(output: str, checkpoint: Path, tmp_path: Path) -> None:
    path = edgebit.export(checkpoint, tmp_path / output)
    assert path.name == "model.onnx"
    assert names(path.parent) >= FILES
    assert open_graph(path).metadata == open_graph(checkpoint).metadata


def test_a_file_may_stand_beside_other_things_and_be_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    first = edgebit.export(checkpoint, tmp_path / "model.onnx").read_bytes()
    assert edgebit.export(checkpoint, tmp_path / "model.onnx").read_bytes() == first
    assert names(tmp_path) >= FILES | {"letter.txt", "checkpoint"}
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_a_tokenizer_of_something_else_is_not_overwritten(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("precious")
    with pytest.raises(UsageError, match=r"tokenizer\.json is of no earlier export"):
        edgebit.export(checkpoint, tmp_path / "model.onnx")
    assert (tmp_path / "tokenizer.json").read_text() == "precious"
    assert names(tmp_path) == {"tokenizer.json", "checkpoint"}


def test_another_name_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the file is always called model\.onnx"):
        edgebit.export(checkpoint, tmp_path / "bitnet.onnx")


def test_a_damaged_checkpoint_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for output in ("graph", "model.onnx", "new/model.onnx"):
        with pytest.raises(EdgebitError):
            edgebit.export(checkpoint, tmp_path / output)
    assert names(tmp_path) == {"checkpoint"}
