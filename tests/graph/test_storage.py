"""Model folders: the same bytes every time, complete or not there, and no trust in what is read back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgebit.errors import CheckpointError, EdgebitError, GraphError
from edgebit.graph import build, check, load, save
from edgebit.model import open_checkpoint
from tests.builders import LAYOUTS, change_tensors, write_checkpoint
from tests.graph.exporting import export


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    return export(write_checkpoint(folder / "model", "packed"), folder / "onnx")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of an export that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_saving_again_what_was_loaded_gives_the_same_bytes(tmp_path: Path, layout: str) -> None:
    first = export(write_checkpoint(tmp_path / "model", layout), tmp_path / "first")
    again = save(load(first), tmp_path / "again")
    once_more = save(build(open_checkpoint(tmp_path / "model")), tmp_path / "once_more")
    assert content(first) == content(again) == content(once_more)
    assert set(content(first)) >= {"model.onnx", "model.onnx.data", "tokenizer.json", "tokenizer_config.json"}


def test_no_machine_path_is_written(exported: Path) -> None:
    for name in ("model.onnx", "model.onnx.data"):
        assert str(exported.parent).encode() not in (exported / name).read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in (exported / name).read_bytes()


def test_a_loaded_model_equals_the_built_one(exported: Path) -> None:
    built, loaded = build(open_checkpoint(exported.parent / "model")), load(exported)
    assert loaded.metadata == built.metadata
    assert loaded.files == built.files
    assert load(exported / "model.onnx").metadata == built.metadata
    names = [(node.domain, node.op_type, node.name) for node in built.ir.graph]
    assert [(node.domain, node.op_type, node.name) for node in loaded.ir.graph] == names


def test_tensors_of_a_page_or_more_can_be_mapped_aligned(exported: Path) -> None:
    for tensor in onnx.load(exported / "model.onnx", load_external_data=False).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert int(entries.get("offset", 0)) % 4096 == 0


def test_an_earlier_export_is_replaced_whole(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "onnx"
    export(write_checkpoint(tmp_path / "llama", "llama"), target)
    (target / "leftover.txt").touch()
    save(load(exported), target)
    assert content(target) == content(exported)
    save(load(target), target)  # reads from the very folder it replaces
    assert content(target) == content(exported)
    assert {p.name for p in tmp_path.iterdir()} == {"llama", "onnx"}


def test_a_failing_export_leaves_nothing_and_an_existing_one_as_it_was(
    exported: Path, tmp_path: Path
) -> None:
    damaged = write_checkpoint(tmp_path / "model", "packed")
    weight = open_checkpoint(damaged).projection("model.layers.1.mlp.down_proj").packed()
    change_tensors(damaged, model__layers__1__mlp__down_proj__weight=weight.reshape(32, 192) | 3)
    save(load(exported), tmp_path / "existing")
    for target in ("new", "existing"):
        with pytest.raises(CheckpointError, match=r"down_proj\.weight: code 3 at row 0, column 0"):
            export(damaged, tmp_path / target)
    assert {p.name for p in tmp_path.iterdir()} == {"model", "existing"}
    assert content(tmp_path / "existing") == content(exported)


def test_only_new_empty_or_exported_folders_are_written(exported: Path, tmp_path: Path) -> None:
    model = load(exported)
    (tmp_path / "empty").mkdir()
    save(model, tmp_path / "empty")
    save(model, tmp_path / "deep" / "er")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").touch()
    (tmp_path / "file").touch()
    for target, complaint in (
        ("foreign", "holds other files and no earlier export"),
        ("file", "is a file, expected a folder"),
        ("model.onnx", "name the folder that will hold model.onnx"),
        ("file/below", "nothing was written"),
    ):
        with pytest.raises(GraphError, match=complaint):
            save(model, tmp_path / target)
    assert (tmp_path / "foreign" / "letter.txt").exists()


def change_model(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def relocate(model: onnx.ModelProto, location: str) -> None:
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location


def set_length(model: onnx.ModelProto, length: str) -> None:
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "length":
            entry.value = length


def forget(model: onnx.ModelProto, key: str) -> None:
    kept = [(p.key, p.value) for p in model.metadata_props if p.key != key]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(kept))


def set_opset(model: onnx.ModelProto, domain: str, version: int) -> None:
    next(o for o in model.opset_import if o.domain == domain).version = version


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("model.onnx.data, which is missing", lambda f: (f / "model.onnx.data").unlink()),
        ("copy it again", lambda f: (f / "model.onnx.data").write_bytes(b"short")),
        ("no tokenizer.json beside it", lambda f: (f / "tokenizer.json").unlink()),
        ("not a readable ONNX file", lambda f: (f / "model.onnx").write_bytes(b"\x08garbage")),
        ("no such file", lambda f: (f / "model.onnx").unlink()),
        ("expected a file beside the model", lambda f: change_model(f, lambda m: relocate(m, "../secret"))),
        ("expected a file beside the model", lambda f: change_model(f, lambda m: relocate(m, "/etc/passwd"))),
        ("copy it again", lambda f: change_model(f, lambda m: set_length(m, "12"))),
        ("edgebit.format is absent", lambda f: change_model(f, lambda m: forget(m, "edgebit.format"))),
        ("edgebit.family is missing", lambda f: change_model(f, lambda m: forget(m, "edgebit.family"))),
        ("set ai.onnx version 22, expected 23", lambda f: change_model(f, lambda m: set_opset(m, "", 22))),
        ("ai.edgebit version 2, exp", lambda f: change_model(f, lambda m: set_opset(m, "ai.edgebit", 2))),
    ],
)
def test_a_damaged_or_foreign_folder_is_one_clear_line(
    folder: Path, complaint: str, change: Callable[[Path], None]
) -> None:
    change(folder)
    with pytest.raises(GraphError) as caught:
        load(folder)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_onnx_file_is_refused_at_every_length(folder: Path) -> None:
    whole = (folder / "model.onnx").read_bytes()
    for length in range(0, len(whole), 997):
        (folder / "model.onnx").write_bytes(whole[:length])
        with pytest.raises(EdgebitError):
            load(folder)


def test_check_names_what_is_wrong(folder: Path) -> None:
    check(folder)
    change_model(folder, lambda model: model.graph.node[0].input.pop())
    with pytest.raises(GraphError, match="not a valid ONNX model"):
        check(folder)
