"""The built-in model on other systems than the usual Debian: other glibc, musl (pytest -m devices)."""

from __future__ import annotations

import os
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


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edgebit.compile(target="arm64", output=tmp_path_factory.mktemp("glibc") / "bundle")


@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
@pytest.mark.parametrize("cpu", ["cortex-a53", "max"])
def test_the_bundle_passes_its_self_test_on_other_debians(suite: str, cpu: str, bundle: Path) -> None:
    command = [str(userland("arm64", suite)), str(bundle / "doctor.py")]
    environment = {**os.environ, "EB_CPU": cpu}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].startswith("right: ")


def test_a_c_program_with_musl_gives_the_answer_of_this_machine(tmp_path: Path) -> None:
    """zig builds the program, Debian has the loader that it asks for."""
    root = userland("arm64", "trixie").with_name("arm64-trixie")
    assert (root / "lib/ld-musl-aarch64.so.1").exists(), "make the userland again: it has no musl"
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
