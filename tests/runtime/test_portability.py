"""One source for every Linux libc: what it may need, what it may show, and what sanitizers say."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgebit.compiler.target import load_target
from tests.runtime.builders import HERE, NATIVE, ZIG, build, compile_flags, toy_weights

ALLOWED = set(
    "malloc free memcpy memset memcmp memmove bcmp strlen getenv mmap munmap syscall getauxval "
    "pthread_create pthread_join clock_gettime".split()
)
LINKER_OWN = set(
    "_DYNAMIC __gmon_start__ __cxa_finalize _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable".split()
)
RUNTIME = NATIVE.parent


def symbols(library: Path, *options: str) -> set[str]:
    text = subprocess.run(
        ["nm", "-D", *options, str(library)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines()}


@pytest.mark.parametrize(
    "target",
    [
        "x86_64-linux-gnu.2.17",
        "aarch64-linux-gnu.2.17",
        "aarch64-linux-musl",
        "arm-linux-gnueabihf.2.17",
        "riscv64-linux-gnu.2.27",
    ],
)
def test_the_library_needs_and_shows_only_what_is_listed(target: str, tmp_path: Path) -> None:
    exports = tmp_path / "exports.map"
    exports.write_text("{ global: eb_*; local: *; };\n")
    library = build(
        tmp_path / "libmodel.so",
        "-target",
        target,
        "-s",
        "-Wl,-z,defs",
        "-Wl,--gc-sections",
        f"-Wl,--version-script={exports}",
        probe=False,
    )
    assert symbols(library, "--undefined-only") - LINKER_OWN <= ALLOWED
    shown = {name for name in symbols(library, "--defined-only") if name.startswith("eb_")}
    declared = set(re.findall(r"^EB_API\b[^;(]*?\b(eb_\w+)\(", (NATIVE / "edgebit.h").read_text(), re.M))
    assert shown - {"eb_model_plan"} == declared
    assert "TLS" not in subprocess.check_output(["readelf", "-lW", str(library)], text=True)


def test_no_header_of_a_libc_is_read(tmp_path: Path) -> None:
    for source in sorted(NATIVE.glob("*.c")):
        included = set(re.findall(r"#include <(.+)>", source.read_text()))
        assert included <= {"stdarg.h", "stddef.h", "stdint.h"}, source.name
        command = [*ZIG, "-target", "aarch64-linux-android", *compile_flags(), "-Werror"]
        result = subprocess.run(
            [*command, "-c", "-o", str(tmp_path / "out.o"), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr


def test_the_public_header_is_c_and_cpp(tmp_path: Path) -> None:
    for language in ("c", "c++"):
        command = ["gcc", "-x", language, "-fsyntax-only", "-Wall", "-Werror", "-pedantic", "-"]
        subprocess.run(command, input=f'#include "{NATIVE}/edgebit.h"\n', text=True, check=True)


def test_functions_are_short() -> None:
    for source in [*sorted(NATIVE.glob("*.c")), *sorted((RUNTIME / "program").glob("*.c"))]:
        start = None
        for number, line in enumerate(source.read_text().splitlines(), 1):
            if line.endswith("{") and line[0] not in " }#/" and "(" in line:
                start = number
            if line == "}" and start is not None:
                assert number - start < 60, f"{source.name}:{start}"
                start = None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_suite_passes_under_sanitizers(tmp_path: Path) -> None:
    """Address and undefined-behaviour sanitizers over every session, thread, tier and lm_head test."""
    library = build(
        tmp_path / "libmodel.so",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        compiler=("gcc",),
    )
    asan = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    environment = {
        **os.environ,
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0",
        "EDGEBIT_TOY_LIBRARY": str(library),
    }
    names = ("session", "measuring", "threads", "tiers", "head")
    tests = [str(HERE.parent / f"test_{name}.py") for name in names]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=HERE.parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]


def build_program(output: Path, compiler: Sequence[str], *options: str) -> Path:
    """Options stand behind the flags of the runtime, which switch sanitizers off."""
    own = ("toy_plan", "probe", "head_probe", "head_kernels", "head_program", "program")
    sources = [*sorted(NATIVE.glob("*.c")), *(HERE / f"{name}.c" for name in own)]
    result = subprocess.run(
        [
            *compiler,
            *compile_flags(),
            *options,
            f"-I{NATIVE}",
            "-o",
            str(output),
            *map(str, sources),
            "-lpthread",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (output.parent / "weights.bin").write_bytes(toy_weights())
    return output


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_threads_are_free_of_data_races(tmp_path: Path) -> None:
    """ThreadSanitizer over barriers, whole evaluations and screening."""
    program = build_program(tmp_path / "program", ("gcc",), "-fsanitize=thread", "-fno-pie", "-no-pie")
    assert b"__tsan_read" in program.read_bytes()
    result = subprocess.run([str(program), str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.slow  # the first time: zig builds musl
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="no qemu-aarch64")
def test_an_arm_program_runs_and_sees_its_cpu(tmp_path: Path) -> None:
    """No userland is needed: a static program. FPCR, futexes and hardware capabilities are those of ARM."""
    program = build_program(tmp_path / "program", ZIG, "-target", "aarch64-linux-musl", "-static")
    for cpu, tier in (("cortex-a72", "baseline"), ("cortex-a76", "dotprod")):
        result = subprocess.run(
            ["qemu-aarch64", "-cpu", cpu, str(program), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stdout) == (0, tier), result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["armv7", "riscv64"])
def test_a_program_runs_on_the_oldest_processor_of_other_architectures(name: str, tmp_path: Path) -> None:
    """musl has 64-bit off_t and time_t where 32-bit glibc and bionic have 32: nothing may depend on it."""
    zig_target, emulator, cpu = {
        "armv7": ("arm-linux-musleabihf", "qemu-arm", "cortex-a8"),
        "riscv64": ("riscv64-linux-musl", "qemu-riscv64", "sifive-u54"),
    }[name]
    if shutil.which(emulator) is None:
        pytest.skip(f"no {emulator}")
    flags = load_target(name).link_flags
    program = build_program(tmp_path / "program", ZIG, "-target", zig_target, "-static", *flags)
    command = [emulator, "-cpu", cpu, str(program), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "baseline"), result.stderr


OPEN = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1] + "/libmodel.so")
library.eb_open.restype = ctypes.c_void_p
error = ctypes.create_string_buffer(512)
print(library.eb_open(sys.argv[1].encode(), error, 512), error.value.decode())
"""


@pytest.mark.arm
def test_weights_beyond_32_bits_are_refused_with_the_way_out(armhf_python: Path, tmp_path: Path) -> None:
    target = load_target("armv7")
    flags = ["-target", target.zig_target, *target.link_flags]
    build(tmp_path / "libmodel.so", *flags, probe=False)
    with (tmp_path / "weights.bin").open("wb") as weights:
        weights.truncate(3 << 30)  # takes no room on the disk
    command = [str(armhf_python), "-c", OPEN, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("None no address space to map")
    assert "weights over 2 GB need a 64-bit system" in result.stdout


# ---- the Python side -----------------------------------------------------------------------------

# Modules that Python 3.8 does not have yet.
NEWER_THAN_3_8 = {"tomllib", "zoneinfo", "graphlib"}


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("*.py")), ids=lambda path: path.name)
def test_the_loader_imports_the_standard_library_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 8))):
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            roots = {str(node.module).split(".")[0]}
        else:
            continue
        assert roots <= set(sys.stdlib_module_names) - NEWER_THAN_3_8, f"line {node.lineno}"
