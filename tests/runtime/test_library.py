"""Binding libmodel.so: one line where it is no library, or one of another edgebit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from edgebit.runtime import RuntimeModelError
from edgebit.runtime.library import FUNCTIONS, bind
from tests.runtime.builders import ZIG


def library(path: Path, version: str, functions: Iterable[str] = ()) -> Path:
    source = [f'const char *eb_version(void) {{ return "{version}"; }}']
    source += [f"void {name}(void) {{}}" for name in functions if name != "eb_version"]
    path.with_suffix(".c").write_text("\n".join([*source, ""]))
    command = [*ZIG, "-shared", "-o", str(path), str(path.with_suffix(".c"))]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_a_library_without_a_function_is_of_another_edgebit(tmp_path: Path) -> None:
    with pytest.raises(RuntimeModelError, match="another edgebit, without eb_open: compile"):
        bind(str(library(tmp_path / "old.so", "1.0")))


def test_a_library_that_was_replaced_is_loaded_again(tmp_path: Path) -> None:
    """The old one stays what it was for those who have it; a file that is the same is loaded once."""
    path = library(tmp_path / "model.so", "1.0", FUNCTIONS)
    old = bind(str(path))
    library(tmp_path / "new.so", "1.7", FUNCTIONS).replace(path)
    new, again = bind(str(path)), bind(str(path))
    assert [each.eb_version() for each in (old, new, again)] == [b"1.0", b"1.7", b"1.7"]
    assert new._handle == again._handle != old._handle


def test_a_library_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeModelError, match=r"model\.so cannot be loaded: .*No such file"):
        bind(str(tmp_path / "model.so"))


def test_what_is_no_library_gives_the_reason_of_the_loader(tmp_path: Path) -> None:
    (tmp_path / "bad.so").write_bytes(b"no library")
    with pytest.raises(RuntimeModelError, match=r"bad\.so cannot be loaded: "):
        bind(str(tmp_path / "bad.so"))
