"""edgebit-run: a static executable for every target, the same bytes each time, one line when it cannot be."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgebit.bundle.elf import read_elf
from edgebit.bundle.link import compiled_parts, link_library
from edgebit.bundle.program import check_program, musl_target, program_of
from edgebit.compiler.target import Target, host_target, known_targets, load_target
from edgebit.errors import LinkError
from tests.bundle.builders import kernel_object, plan_source, write_native

PLAN = plan_source(bytes(range(32)))
EMULATORS = {"arm64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64", "x86_64": "qemu-x86_64"}


def link_fake(target: Target, native: Path) -> bytes:
    with compiled_parts(target, PLAN, {"fake": [kernel_object(target)]}, native) as parts:
        return program_of(parts)


def expected(called: str) -> str:
    """What the program of builders.py prints: the first bytes of its name through kernel and plan."""
    value = struct.unpack("<i", called.encode()[:4])[0] + 1
    return f"{value + (value & 31)} model.c"


@pytest.mark.slow  # the first time: zig builds musl
@pytest.mark.parametrize("name", sorted(known_targets()))
def test_the_program_of_every_target_needs_nothing_and_runs(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    image = link_fake(target, write_native(tmp_path / "native"))
    program = read_elf(image)
    assert (program.architecture, program.needed, program.undefined) == (target.architecture, set(), set())
    assert program.alignment == target.page_size
    path = tmp_path / "edgebit-run"
    path.write_bytes(image)
    path.chmod(0o755)
    emulator = [] if target == host_target() else [shutil.which(EMULATORS[target.architecture]) or ""]
    if emulator == [""]:
        pytest.skip(f"no {EMULATORS[target.architecture]}")
    result = subprocess.run([*emulator, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout == expected(str(path)), "kernel, plan or runtime is not the one linked in"


def test_equal_input_gives_equal_bytes_whatever_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other folder").mkdir()
    first = link_fake(host_target(), write_native(tmp_path / "native"))
    second = link_fake(host_target(), write_native(tmp_path / "other folder" / "native"))
    assert first == second
    assert str(Path.home()).encode() not in first and b"edgebit-link-" not in first


def test_an_error_of_the_program_is_one_line(tmp_path: Path) -> None:
    native = write_native(tmp_path / "native")
    (tmp_path / "program" / "main.c").write_text("int main(void) { return nothing; }")
    with pytest.raises(LinkError, match=r"main\.c:1:\d+: error: use of undeclared identifier") as caught:
        link_fake(host_target(), native)
    assert "\n" not in str(caught.value)
    (tmp_path / "program" / "main.c").unlink()
    with pytest.raises(LinkError, match="no C sources of edgebit-run"):
        link_fake(host_target(), native)


def test_an_architecture_without_a_libc_to_link_is_refused() -> None:
    with pytest.raises(LinkError, match=r"no static program for vax; architectures are x86_64, arm64"):
        musl_target(replace(host_target(), architecture="vax"))


def test_what_a_device_could_not_run_is_refused(tmp_path: Path) -> None:
    host = host_target()
    native = write_native(tmp_path / "native")
    image = link_fake(host, native)
    with pytest.raises(LinkError, match=f"is for {host.architecture}"):
        check_program(image, replace(host, architecture="vax"))
    with pytest.raises(LinkError, match="pages have 65536"):
        check_program(image, replace(host, page_size=65536))
    with pytest.raises(LinkError, match="ELF"):
        check_program(image[:70], host)
    library = link_library(host, PLAN, {"fake": [kernel_object(host)]}, native)
    with pytest.raises(LinkError, match="needs libc"):
        check_program(library, host)
