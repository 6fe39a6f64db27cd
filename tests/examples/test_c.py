"""examples/c: what a user copies builds with the commands of its Makefile and answers, also on ARM."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgebit.bundle.link import zig_environment
from edgebit.compiler.target import load_target
from tests.runtime.toy_bundle import ANSWER, write_toy_bundle

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"
ZIG = f"{sys.executable} -m ziglang cc"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("c") / "bundle")


def build(bundle: Path, folder: Path, *variables: str) -> Path:
    """hello, made in `folder`."""
    shutil.copytree(EXAMPLE, folder / "source")
    result = subprocess.run(
        ["make", f"BUNDLE={bundle}", "CFLAGS=-O2 -Wall -Wextra -Werror", *variables],
        cwd=folder / "source",
        env=zig_environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder / "source" / "hello"


def run(*command: str | Path) -> tuple[int, str, str]:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("compiler", ["gcc", ZIG])
def test_it_answers_here(compiler: str, bundle: Path, tmp_path: Path) -> None:
    if compiler == "gcc" and shutil.which("gcc") is None:
        pytest.skip("no gcc")
    hello = build(bundle, tmp_path, f"CC={compiler}")
    assert run(hello, bundle, "hi") == (0, ANSWER + "\n", "")
    assert run(hello, tmp_path, "hi") == (1, "", f"hello: {tmp_path}/weights.bin cannot be read\n")
    code, _, sentence = run(hello, bundle, "x" * 100)
    assert code == 1 and sentence.startswith("hello: the context is full: 0 of its 48 tokens are used")
    assert run(hello, bundle, "x" * 2000)[::2] == (
        1,
        "hello: the message has 2003 tokens, this program takes 1024\n",
    )
    assert run(hello) == (2, "", "usage: hello BUNDLE MESSAGE\n")


@pytest.mark.arm
def test_it_answers_on_arm(arm_python: Path, tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", target=load_target("arm64"))
    hello = build(bundle, tmp_path, f"CC={ZIG}", "TARGET=aarch64-linux-gnu.2.17")
    emulator = ["qemu-aarch64", "-L", str(arm_python.parent / "arm64")]
    for cpu in ("cortex-a72", "cortex-a76"):
        assert run(*emulator, "-cpu", cpu, hello, bundle, "hi") == (0, ANSWER + "\n", "")


def test_the_program_finds_the_library_beside_it(bundle: Path, tmp_path: Path) -> None:
    hello = build(bundle, tmp_path, f"CC={ZIG}")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (hello, bundle / "libmodel.so", bundle / "weights.bin", bundle / "tokenizer.bin"):
        shutil.copy(path, moved)
    assert run(moved / "hello", moved, "hi") == (0, ANSWER + "\n", "")
