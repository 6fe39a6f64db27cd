"""A damaged tokenizer.bin is refused or gives wrong tokens; it never makes the runtime read outside of it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edgebit.bundle.text import build_text_table
from tests.text import native, spaced_for_tests, templates, tokenizers_for_tests

ROUNDS = 1200
ALL = tokenizers_for_tests.ALL | spaced_for_tests.ALL


@pytest.fixture(scope="module")
def damage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """damage.c; with sanitizers where there is a gcc, else its own crash is the sign."""
    program = tmp_path_factory.mktemp("damage") / "damage"
    sources = [str(native.NATIVE / f"{name}.c") for name in native.SOURCES if name != "sampler"]
    common = [
        "-std=c11",
        "-O1",
        "-g",
        "-I",
        str(native.NATIVE),
        str(Path(__file__).with_name("damage.c")),
        *sources,
    ]
    if shutil.which("gcc"):
        sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        command = ["gcc", *sanitizers, *common, "-o", str(program)]
    else:
        command = [sys.executable, "-m", "ziglang", "cc", *common, "-o", str(program)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return program


def table_for(name: str) -> bytes:
    tokenizer = ALL[name]()
    template = {"llama3": templates.LLAMA3, "qwen2": templates.QWEN2, "metaspace": templates.QWEN2}.get(name)
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    return build_text_table(tokenizers_for_tests.content(tokenizer), template, bos, [])


@pytest.mark.parametrize("name", ALL)
def test_flipped_bits_and_cut_files_never_crash(name: str, damage: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.bin"
    file.write_bytes(table_for(name))
    run = subprocess.run(
        [str(damage), str(file), str(ROUNDS), "1"], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert ROUNDS // 10 < int(run.stdout) < ROUNDS  # both outcomes are exercised


def test_every_truncation_is_refused() -> None:
    table = table_for("llama3")
    for size in [*range(200), *range(200, len(table), 97), len(table) - 1]:
        with pytest.raises(native.Refused, match=r"tokenizer\.bin"):
            native.Text(table[:size])


def test_another_format_is_named() -> None:
    table = bytearray(table_for("gpt2"))
    struct.pack_into("<I", table, 8, 99)
    with pytest.raises(
        native.Refused, match="format 99, this runtime reads format 5: compile the bundle again"
    ):
        native.Text(bytes(table))
