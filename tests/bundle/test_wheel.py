"""The wheel carries all that compiling needs, and works where only the wheel is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "edgebit", "schedules", "targets")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools writes into the folder it builds."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copyfile(ROOT / name, source / name)
    output = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", output, source)
    return next(output.glob("edgebit-*.whl"))


def pip(command: str, *arguments: str | Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def files_below(folder: str, *patterns: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_source_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    linked = {
        f"edgebit/{name}"
        for name in files_below("schedules", "*.py") | files_below("targets", "*.py", "*.toml")
    }
    own = files_below("edgebit", "*.py") | files_below("edgebit/runtime", "*.c", "*.h", "*.txt")
    builtin = files_below("edgebit/model/builtin", "*")
    expected = linked | own | builtin | {"edgebit/py.typed", "edgebit/bundle/LICENSE"}
    assert {"edgebit/runtime/native/edgebit.h", "edgebit/runtime/program/main.c"} <= expected
    assert expected - packed == set()


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top.split("-")[0] for top in tops} == {"edgebit"}


def test_the_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--target", tmp_path / "site", wheel)
    check = (
        "import edgebit, edgebit.schedules, sys\n"
        "from edgebit.bundle.link import NATIVE, public_functions\n"
        "from edgebit.bundle.writer import LICENSE, PROGRAMS\n"
        "from edgebit.compiler.target import known_targets\n"
        "assert edgebit.__file__.startswith(sys.argv[1]), edgebit.__file__\n"
        "assert edgebit.schedules.__file__.startswith(sys.argv[1])\n"
        "assert 'arm64' in known_targets()\n"
        "assert all(path.is_file() for path in (*sum(PROGRAMS.values(), ()), LICENSE))\n"
        "assert public_functions(NATIVE / 'edgebit.h')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path / "site")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
