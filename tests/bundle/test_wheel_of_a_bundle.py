"""A bundle as a wheel: pip installs it on the devices of its target and nowhere else, and it runs there."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.tags import parse_tag, sys_tags
from packaging.utils import parse_wheel_filename

import edgebit
from edgebit.bundle import write
from edgebit.bundle.wheel import module_name, write_wheel
from edgebit.bundle.writer import Untested
from edgebit.compiler.target import host_target, known_targets, load_target
from edgebit.errors import BundleError
from tests.bundle.builders import FakeModel, FakeWeights, write_native
from tests.runtime.test_integrity import rewrite
from tests.runtime.toy_bundle import ANSWER, write_toy_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("here") / "bundle")


@pytest.fixture(scope="module")
def wheel(bundle: Path) -> Path:
    return edgebit.wheel(bundle)


@pytest.fixture(scope="module")
def arm_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("there")
    return edgebit.wheel(write_toy_bundle(folder / "bundle", target=load_target("arm64")))


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd="/", env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "pip", *arguments)


def install_there(wheel: Path, folder: Path, platform: str) -> subprocess.CompletedProcess[str]:
    """Into a folder, as for a device of another kind."""
    options = ("--platform", platform, "--only-binary=:all:", "--no-deps", "--no-index", "--no-compile")
    return pip("install", "--target", folder, *options, wheel)


# ---- the file ----------------------------------------------------------------------------------------


def test_it_stands_beside_the_bundle_and_is_named_for_the_target(bundle: Path, wheel: Path) -> None:
    assert wheel.parent == bundle.parent
    name, version, build, tags = parse_wheel_filename(wheel.name)
    assert (name, str(version), build) == ("toy", edgebit.__version__, ())
    assert tags == parse_tag(f"py3-none-{host_target().wheel_tag}")
    assert tags & set(sys_tags())


def test_the_record_names_every_file_with_its_digest(bundle: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        rows = list(csv.reader(archive.read(names[-1]).decode().splitlines()))
        assert names[-1].endswith(".dist-info/RECORD")
        assert [row[0] for row in rows] == names
        assert rows[-1][1:] == ["", ""]
        for name, digest, size in rows[:-1]:
            data = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={encoded}", str(len(data)))
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    files = {f"toy/{path.relative_to(bundle).as_posix()}" for path in bundle.rglob("*") if path.is_file()}
    assert files <= set(names)


def test_metadata_are_valid(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"toy-{edgebit.__version__}.dist-info/METADATA")
        facts = archive.read(f"toy-{edgebit.__version__}.dist-info/WHEEL").decode()
    metadata = Metadata.from_email(text)
    assert (metadata.name, str(metadata.requires_python)) == ("toy", ">=3.8")
    assert metadata.description is not None and "doctor.py" in metadata.description
    tags = {line.removeprefix("Tag: ") for line in facts.splitlines() if line.startswith("Tag: ")}
    assert tags == {str(tag) for tag in parse_wheel_filename(wheel.name)[3]}


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, wheel: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    assert write_wheel(copy, tmp_path).read_bytes() == wheel.read_bytes()


def test_weights_are_streamed(tmp_path: Path) -> None:
    model = FakeModel(weights=FakeWeights(bytes(48 << 20)))
    bundle = write(model, b"table", tmp_path / "bundle", Untested(), native=write_native(tmp_path / "native"))
    tracemalloc.start()
    try:
        wheel = edgebit.wheel(bundle)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert wheel.stat().st_size > 48 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("model", "module"),
    [
        ("bitnet-b1.58-2B-4T", "bitnet_b1_58_2b_4t"),
        ("2b4t", "model_2b4t"),
        ("class", "model_class"),
        ("json", "model_json"),
        ("", "model"),
        ("Größe", "gr_e"),
    ],
)
def test_any_model_gets_a_name_to_import(model: str, module: str) -> None:
    assert module_name(model) == module
    assert module.isidentifier()


def test_a_damaged_bundle_or_a_folder_in_the_way_is_one_line_and_leaves_nothing(
    bundle: Path, wheel: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (tmp_path / wheel.name).mkdir()
    with pytest.raises(BundleError, match="no wheel was written"):
        edgebit.wheel(copy)
    (tmp_path / wheel.name).rmdir()
    (copy / "tokenizer.bin").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"tokenizer\.bin was changed after the bundle was made"):
        edgebit.wheel(copy)
    with pytest.raises(BundleError, match=r"no wheel was written"):
        edgebit.wheel(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


# ---- installed ---------------------------------------------------------------------------------------

USE = """
import toy
with toy.load(threads=1) as model:
    print("".join(model.chat([{"role": "user", "content": "hi"}])))
"""


def test_pip_installs_it_here_and_it_runs(wheel: Path, tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv").returncode == 0
    python = tmp_path / "venv" / "bin" / "python"
    installed = pip("--python", python, "install", "--no-index", wheel)
    assert installed.returncode == 0, installed.stderr
    assert run(python, "-c", USE).stdout == ANSWER + "\n"
    assert run(python, "-m", "toy", "--prompt", "hi").stdout == ANSWER + "\n"
    assert run(python, "-m", "toy", "doctor").stdout.splitlines()[-1].startswith("right: ")
    assert pip("--python", python, "uninstall", "--yes", "toy").returncode == 0
    assert run(python, "-c", "import toy").returncode == 1


@pytest.mark.parametrize("tag", sorted({target.wheel_tag for target in known_targets().values()}))
def test_pip_takes_the_wheel_of_every_target_for_its_devices(bundle: Path, tmp_path: Path, tag: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    rewrite(copy, lambda table: table["target"].update(wheel_tag=tag))
    wheel = edgebit.wheel(copy)
    for platform in tag.split("."):
        result = install_there(wheel, tmp_path / platform, platform)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / platform / "toy" / "weights.bin").is_file()


def test_pip_refuses_the_wheel_of_another_machine(wheel: Path, arm_wheel: Path, tmp_path: Path) -> None:
    result = pip("install", "--target", tmp_path / "site", "--no-deps", "--no-index", arm_wheel)
    assert result.returncode == 1
    assert "is not a supported wheel on this platform" in result.stderr
    assert install_there(wheel, tmp_path / "site", "manylinux_2_28_armv7l").returncode == 1
    assert not (tmp_path / "site").exists()


@pytest.mark.arm
def test_it_runs_on_an_arm_device(arm_wheel: Path, arm_python: Path, tmp_path: Path) -> None:
    installed = install_there(arm_wheel, tmp_path / "site", "manylinux_2_17_aarch64")
    assert installed.returncode == 0, installed.stderr
    place = {"PYTHONPATH": str(tmp_path / "site")}
    used = run(arm_python, "-c", USE, **place)
    assert (used.stdout, used.stderr) == (ANSWER + "\n", "")
    assert run(arm_python, "-m", "toy", "doctor", **place).stdout.splitlines()[-1].startswith("right: ")
