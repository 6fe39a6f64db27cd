"""Writing a bundle: complete, reproducible, all or nothing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgebit.bundle import parse_manifest, write, writer
from edgebit.bundle.writer import Untested, check_output
from edgebit.compiler.target import load_target
from edgebit.errors import BundleError, EdgebitError, LinkError, ModelError
from tests.bundle.builders import FakeModel, FakeWeights, write_native


@pytest.fixture
def native(tmp_path: Path) -> Path:
    return write_native(tmp_path / "native")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


TABLE = b"tokenizer table"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_has_its_files_and_the_manifest_names_each(native: Path, place: Path) -> None:
    bundle = write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    files = contents(bundle)
    assert {
        "manifest.json",
        "libmodel.so",
        "weights.bin",
        "tokenizer.bin",
        "chat.py",
        "README.md",
        "LICENSE",
    } <= set(files)
    manifest = parse_manifest(files.pop("manifest.json").decode())
    assert set(manifest.files) == set(files)
    for name, entry in manifest.files.items():
        assert entry.size == len(files[name])
        assert entry.sha256 == hashlib.sha256(files[name]).hexdigest()
    assert manifest.target.tiers == ["fake"]
    assert bytes.fromhex(manifest.weights.id) in files["libmodel.so"]
    assert bytes.fromhex(manifest.weights.id) in files["weights.bin"][:64]
    assert files["weights.bin"][64:] == FakeWeights().body
    assert b"Apache License" in files["LICENSE"]
    assert "tiny" in files["README.md"].decode()


def test_equal_models_give_equal_bytes(native: Path, place: Path) -> None:
    assert contents(write(FakeModel(), TABLE, place / "a", Untested(), native=native)) == contents(
        write(FakeModel(), TABLE, place / "b", Untested(), native=native)
    )


def test_modes_do_not_depend_on_the_umask(native: Path, place: Path) -> None:
    before = os.umask(0o077)
    try:
        bundle = write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    finally:
        os.umask(before)
    assert bundle.stat().st_mode & 0o777 == 0o755
    assert (bundle / "chat.py").stat().st_mode & 0o777 == 0o755
    assert (bundle / "weights.bin").stat().st_mode & 0o777 == 0o644
    assert (bundle / "edgebit_runtime").stat().st_mode & 0o777 == 0o755


def test_an_existing_bundle_is_replaced(native: Path, place: Path) -> None:
    write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    write(FakeModel(), b"other", place / "bundle", Untested(), native=native)
    assert (place / "bundle" / "tokenizer.bin").read_bytes() == b"other"
    assert [path.name for path in place.iterdir()] == ["bundle"]


def test_an_empty_folder_is_taken(native: Path, place: Path) -> None:
    (place / "bundle").mkdir()
    assert (write(FakeModel(), TABLE, place / "bundle", Untested(), native=native) / "manifest.json").exists()


def test_folders_above_the_output_are_made(native: Path, place: Path) -> None:
    bundle = write(FakeModel(), TABLE, place / "x" / "y", Untested(), native=native)
    assert (bundle / "manifest.json").exists()


@pytest.mark.parametrize("manifest", [None, "not json", '{"name": "web app"}', "7"])
def test_a_folder_that_is_no_bundle_is_refused_and_untouched(
    manifest: str | None, native: Path, place: Path
) -> None:
    output = place / "documents"
    output.mkdir()
    (output / "letter.txt").write_text("dear")
    if manifest is not None:
        (output / "manifest.json").write_text(manifest)
    before = contents(place)
    with pytest.raises(BundleError, match=r"documents exists and is not an edgebit bundle"):
        write(FakeModel(), TABLE, output, Untested(), native=native)
    assert contents(place) == before


def test_a_file_in_the_way_is_refused(native: Path, place: Path) -> None:
    (place / "bundle").write_text("a file")
    with pytest.raises(BundleError, match="is not a folder"):
        write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    assert (place / "bundle").read_text() == "a file"


def failing_weights(native: Path) -> tuple[FakeModel, Path]:
    return FakeModel(weights=FakeWeights(fails=True)), native


def failing_link(native: Path) -> tuple[FakeModel, Path]:
    (native / "broken.c").write_text("int eb_broken(void) { return }")
    return FakeModel(), native


@pytest.mark.parametrize(
    ("break_it", "error"), [(failing_weights, ModelError), (failing_link, LinkError)], ids=["weights", "link"]
)
def test_an_error_in_the_middle_leaves_nothing_and_the_old_bundle_as_it_was(
    break_it: object, error: type[EdgebitError], native: Path, place: Path
) -> None:
    write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    before = contents(place)
    model, broken = break_it(native)  # type: ignore[operator]
    for output in (place / "bundle", place / "new", place / "deep" / "er" / "bundle"):
        with pytest.raises(error):
            write(model, TABLE, output, Untested(), native=broken)
    assert contents(place) == before
    assert [path.name for path in place.iterdir()] == ["bundle"]


def test_an_interrupt_while_renaming_puts_the_old_bundle_back(
    native: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    before = contents(place)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(FakeModel(), b"other", place / "bundle", Untested(), native=native)
    assert contents(place) == before
    assert [path.name for path in place.iterdir()] == ["bundle"]


def test_a_full_disk_is_one_line(native: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(place / "bundle" / "weights.bin"))

    monkeypatch.setattr(writer, "copy_runtime", full)
    with pytest.raises(BundleError, match="No space left on device; nothing was written"):
        write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    assert list(place.iterdir()) == []


def test_a_link_to_a_bundle_keeps_being_a_link(native: Path, place: Path) -> None:
    write(FakeModel(), TABLE, place / "bundle", Untested(), native=native)
    (place / "current").symlink_to("bundle")
    write(FakeModel(), b"other", place / "current", Untested(), native=native)
    assert (place / "current").is_symlink()
    assert (place / "bundle" / "tokenizer.bin").read_bytes() == b"other"


def test_the_stages_are_reported(native: Path, place: Path) -> None:
    stages: list[str] = []

    class Recorder:
        def stage(self, name: str) -> None:
            stages.append(name)

        def advance(self, done: int, total: int) -> None:
            assert 0 < done <= total

    write(FakeModel(), TABLE, place / "bundle", Untested(), Recorder(), native)
    assert stages == ["weights", "link", "self-test", "bundle"]


def test_a_bundle_for_another_cpu_is_written_here(native: Path, place: Path) -> None:
    model = replace(FakeModel(), target=load_target("arm64"))
    manifest = parse_manifest(
        (write(model, TABLE, place / "bundle", Untested(), native=native) / "manifest.json").read_text()
    )
    assert manifest.target.architecture == "arm64"


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="file is not a folder"):
        check_output(tmp_path / "file" / "bundle")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    for output in (tmp_path / "bundle", tmp_path / "more" / "bundle"):
        with pytest.raises(BundleError, match=f"{tmp_path} cannot be written to"):
            check_output(output)
