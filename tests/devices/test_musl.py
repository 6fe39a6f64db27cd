"""The library for musl, loaded by the dynamic loader of musl (make test-devices)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import edgebit
from edgebit.bundle.elf import read_elf
from tests.conftest import userland

pytestmark = [pytest.mark.devices, pytest.mark.arm]

ZIG = (sys.executable, "-m", "ziglang", "cc")
NATIVE = Path(edgebit.__file__).parent / "runtime" / "native"
PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "c" / "hello.c"
MESSAGE = "dim the bedroom lamp to 40 percent"


def test_a_c_program_with_musl_gives_the_answer_of_this_machine(tmp_path: Path) -> None:
    """zig builds the program, Debian has the loader that it asks for."""
    root = userland("arm64").with_name("arm64")
    here = edgebit.compile(target="host", output=tmp_path / "here")
    bundle = edgebit.compile(target="musl-arm64", output=tmp_path / "musl")
    program = tmp_path / "hello"
    flags = ["-O1", "-dynamic", f"-I{NATIVE}", f"-L{bundle}", "-lmodel", f"-Wl,-rpath,{bundle}"]
    build = [*ZIG, "-target", "aarch64-linux-musl", str(PROGRAM), *flags, "-o", str(program)]
    subprocess.run(build, check=True)
    assert read_elf(program.read_bytes()).has_interpreter
    run = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", str(root), str(program), str(bundle), MESSAGE]
    expected = answer_of([sys.executable, str(here / "chat.py"), "--prompt", MESSAGE])
    assert answer_of(run) == expected != ""


def answer_of(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
