"""The same ids and the same sampled tokens on x86-64 and arm64, and whatever the compiler may fuse."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgebit.bundle.text import build_text_table
from tests.text import native, strings, templates
from tests.text import tokenizers_for_tests as make


def build(folder: Path, name: str, options: Sequence[str]) -> Path:
    program = folder / name
    source = [str(Path(__file__).with_name("digest.c")), "-I", str(native.NATIVE)]
    command = native.compile_command(program, *options, "-ffreestanding", *source)
    command = [argument for argument in command if argument != "-ffreestanding"]
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": str(folder / "cache")}
    subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", *command],
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return program


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with tokenizer.bin and lines ended by NUL."""
    folder = tmp_path_factory.mktemp("digest")
    tokenizer = make.qwen2()
    (folder / "tokenizer.bin").write_bytes(
        build_text_table(make.content(tokenizer), templates.QWEN2, None, [])
    )
    source = random.Random(11)
    lines = [strings.random_string(source).replace("\0", "") for _ in range(3000)]
    (folder / "lines").write_bytes("\0".join([*lines, ""]).encode())
    return folder


def digest(inputs: Path, program: Path, *emulator: str) -> str:
    command = [*emulator, str(program), str(inputs / "tokenizer.bin"), str(inputs / "lines")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def expected(inputs: Path) -> str:
    text = digest(inputs, build(inputs, "host", []))
    assert len(text.splitlines()) == 6001
    assert len(set(text.splitlines()[-1].split())) > 100
    return text


def test_a_compiler_with_fused_multiply_add(inputs: Path, expected: str) -> None:
    """-ffp-contract=off of compile_flags.txt holds, also at -O3 for the newest of CPUs."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    options = ["-O3", "-mfma", "-mavx2"] if " fma " in flags else ["-O3"]
    assert digest(inputs, build(inputs, "fused", options)) == expected


@pytest.mark.slow
def test_arm64(inputs: Path, expected: str) -> None:
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        assert os.environ.get("EDGEBIT_REQUIRE_ARM") != "1", "qemu-aarch64 is missing"
        pytest.skip("no qemu-aarch64")
    program = build(inputs, "arm64", ["-target", "aarch64-linux-musl", "-static"])
    assert digest(inputs, program, emulator) == expected
