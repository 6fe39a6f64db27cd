"""A bundle is checked before it runs: what is wrong, in which file, found and expected."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgebit
from edgebit.runtime import IntegrityError, RuntimeModelError, integrity, load
from edgebit.runtime.integrity import check_bundle


def complaint(bundle: Path, verify: bool = False) -> str:
    with pytest.raises(IntegrityError) as caught:
        check_bundle(bundle, verify)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.replace(f"{bundle}/", "")


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest and gives it a right digest again: a bundle made by another program."""
    path = bundle / "manifest.json"
    table = json.loads(path.read_text())
    change(table)
    table["sha256"] = integrity.NO_DIGEST
    text = json.dumps(table)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.replace(integrity.NO_DIGEST, digest, 1))


def test_a_bundle_as_it_was_written_is_whole(toy_bundle: Path) -> None:
    assert check_bundle(toy_bundle, verify=True)["model"]["name"] == "toy"


@pytest.mark.parametrize(
    "name", ["weights.bin", "libmodel.so", "tokenizer.bin", "chat.py", "edgebit_runtime/model.py"]
)
def test_one_changed_byte_in_any_file_is_found(bundle_copy: Path, name: str) -> None:
    path = bundle_copy / name
    data = bytearray(path.read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()
    assert complaint(bundle_copy) == (
        f"{name} is damaged: sha256 {found}, expected {expected}; copy the bundle again"
    )


def test_a_cut_file_is_found_by_its_size(bundle_copy: Path) -> None:
    path = bundle_copy / "weights.bin"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    assert (
        complaint(bundle_copy)
        == f"weights.bin is damaged: {size - 1} bytes, expected {size}; copy the bundle again"
    )


def test_a_missing_file_is_named(bundle_copy: Path) -> None:
    (bundle_copy / "tokenizer.bin").unlink()
    assert complaint(bundle_copy) == "tokenizer.bin is missing: copy the bundle again"


def test_large_files_are_hashed_on_request_only(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "ALWAYS_HASHED_BYTES", 2623)
    path = bundle_copy / "weights.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    check_bundle(bundle_copy)
    assert complaint(bundle_copy, verify=True).startswith("weights.bin is damaged: sha256 ")
    for opened in (load, edgebit.load):
        with pytest.raises(IntegrityError, match=r"weights\.bin is damaged"):
            opened(bundle_copy, verify=True)
    monkeypatch.setenv("EDGEBIT_VERIFY", "1")
    assert complaint(bundle_copy).startswith("weights.bin is damaged: sha256 ")
    monkeypatch.setenv("EDGEBIT_VERIFY", "0")
    check_bundle(bundle_copy)


@pytest.mark.parametrize("place", [0, 7, 8, 16, 23, 24, 55], ids="magic magic format size size id id".split())
def test_the_header_of_large_weights_is_checked_always(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(integrity, "ALWAYS_HASHED_BYTES", 2623)
    path = bundle_copy / "weights.bin"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(RuntimeModelError, match=r"weights\.bin "):
        load(bundle_copy)


@pytest.mark.parametrize(
    ("machine", "pointer_bytes", "name"),
    [("aarch64", 8, "aarch64"), ("aarch64", 4, "armv7l"), ("armv7l", 4, "armv7l"), ("x86_64", 4, "i686")],
)
def test_a_bundle_for_another_machine_says_what_to_do(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch, machine: str, pointer_bytes: int, name: str
) -> None:
    monkeypatch.setattr(integrity.platform, "machine", lambda: machine)
    monkeypatch.setattr(integrity.struct, "calcsize", lambda code: pointer_bytes)
    assert complaint(toy_bundle) == (
        f"{toy_bundle}: this bundle is for x86_64, this machine is {name}: "
        "compile the model with --target for this machine"
    )


def test_a_folder_without_manifest_is_not_a_bundle(tmp_path: Path) -> None:
    assert complaint(tmp_path) == f"manifest.json is missing: {tmp_path} is not a bundle"
    assert complaint(tmp_path / "nowhere").startswith("manifest.json is missing")
    with pytest.raises(IntegrityError, match="is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "manifest.json is damaged: Expecting value"),
        (b"{", "manifest.json is damaged: "),
        (b"\xff\xfe", "manifest.json cannot be read: "),
        (b"[]", "manifest.json is not the manifest of an edgebit bundle"),
        (b"{}", "manifest.json is not the manifest of an edgebit bundle"),
        (b'{"edgebit": "9"}', "manifest.json has format None, this loader reads format 2"),
        (b'{"edgebit": "9", "format": 3}', "manifest.json has format 3, this loader reads format 2"),
        (b'{"edgebit": "9", "format": 2}', "manifest.json is damaged: sha256 "),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    assert complaint(tmp_path).startswith(sentence)


def test_every_changed_byte_of_the_manifest_is_found(bundle_copy: Path) -> None:
    path, chance = bundle_copy / "manifest.json", random.Random(1)
    good = path.read_bytes()
    for _ in range(100):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        assert complaint(bundle_copy).startswith("manifest.json ")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.pop("files"),
        lambda table: table.pop("target"),
        lambda table: table["target"].pop("machines"),
        lambda table: table["target"].update(machines="x86_64"),
        lambda table: table.update(files=[]),
        lambda table: table["files"].update({"weights.bin": {"size": 3}}),
        lambda table: table["files"].update({"weights.bin": None}),
        lambda table: table["files"].update({"../secret": {"size": 3, "sha256": ""}}),
        lambda table: table["files"].update({"/etc/passwd": {"size": 3, "sha256": ""}}),
    ],
)
def test_a_manifest_with_fields_missing_or_leaving_the_folder_is_refused(
    bundle_copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(bundle_copy, change)
    assert complaint(bundle_copy).startswith("manifest.json lacks a field or has one of the wrong kind")


def test_a_file_that_cannot_be_read_is_named(bundle_copy: Path) -> None:
    (bundle_copy / "tokenizer.bin").unlink()
    (bundle_copy / "tokenizer.bin").mkdir()
    size = (bundle_copy / "tokenizer.bin").stat().st_size
    rewrite(bundle_copy, lambda table: table["files"]["tokenizer.bin"].update(size=size))
    assert complaint(bundle_copy) == "tokenizer.bin cannot be read: Is a directory"
