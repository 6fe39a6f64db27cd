"""Binding libmodel.so: one line where it is no library, or one of another edgebit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgebit.runtime import RuntimeModelError
from edgebit.runtime.library import bind
from tests.runtime.builders import ZIG


def test_a_library_without_a_function_is_of_another_edgebit(tmp_path: Path) -> None:
    (tmp_path / "old.c").write_text('const char *eb_version(void) { return "1.0"; }\n')
    command = [*ZIG, "-shared", "-o", str(tmp_path / "old.so"), str(tmp_path / "old.c")]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(RuntimeModelError, match="another edgebit, without eb_open: compile"):
        bind(str(tmp_path / "old.so"))


def test_what_is_no_library_gives_the_reason_of_the_loader(tmp_path: Path) -> None:
    (tmp_path / "bad.so").write_bytes(b"no library")
    with pytest.raises(RuntimeModelError, match=r"bad\.so cannot be loaded: "):
        bind(str(tmp_path / "bad.so"))
