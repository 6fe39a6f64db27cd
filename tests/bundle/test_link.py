"""libmodel.so: what goes in, what a device may see of it, and one line when it cannot be linked."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgebit.bundle import link
from edgebit.bundle.elf import read_elf
from edgebit.compiler.target import Target, host_target, known_targets, load_target
from edgebit.errors import LinkError
from tests.bundle.builders import HEADER, SOURCE, kernel_object, plan_source, write_native

PLAN = plan_source(bytes(range(32)))


def link_fake(target: Target, native: Path) -> bytes:
    return link.link_library(target, PLAN, {"fake": [kernel_object(target)]}, native)


@pytest.mark.parametrize("name", sorted(known_targets()))
def test_a_library_of_every_target_exports_the_public_functions_alone(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    library = read_elf(link_fake(target, write_native(tmp_path / "native")))
    assert library.architecture == target.architecture
    assert library.exported == {"eb_open", "eb_version"}
    assert library.undefined <= link.LIBC_SYMBOLS
    assert library.alignment == target.page_size


def test_equal_input_gives_equal_bytes_whatever_the_folder(tmp_path: Path) -> None:
    first = link_fake(host_target(), write_native(tmp_path / "one" / "native"))
    second = link_fake(host_target(), write_native(tmp_path / "a longer folder name" / "native"))
    assert first == second


def test_sources_are_compiled_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the plan is; another header is another source."""
    monkeypatch.setenv("EDGEBIT_NO_CACHE", "1")  # a run before this one may have kept the object
    compiled: list[str] = []
    run_zig = link.run_zig

    def noted(work: Path, zig_target: str, arguments: Sequence[str]) -> None:
        compiled.extend(name for name in arguments if name.endswith(".c"))
        run_zig(work, zig_target, arguments)

    monkeypatch.setattr(link, "run_zig", noted)
    native = write_native(tmp_path / "native", source=SOURCE + "\n/* of this test alone */\n")
    first = link_fake(host_target(), native)
    other_plan = plan_source(bytes(range(1, 33)))
    second = link.link_library(host_target(), other_plan, {"fake": [kernel_object(host_target())]}, native)
    assert compiled == ["model.c", "plan.c", "plan.c"]
    assert first != second
    header = native / "edgebit.h"
    header.write_text(header.read_text() + "/* changed */\n")
    assert link_fake(host_target(), native) == first
    assert compiled[3:] == ["model.c", "plan.c"]


def test_no_path_of_the_workstation_reaches_the_library(tmp_path: Path) -> None:
    image = link_fake(host_target(), write_native(tmp_path / "native"))
    assert b"model.c" in image  # __FILE__ is there,
    assert b"edgebit-link-" not in image  # its folder is not
    assert str(Path.home()).encode() not in image


def test_the_library_runs_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "libmodel.so"
    path.write_bytes(link_fake(host_target(), write_native(tmp_path / "native")))
    opened = ctypes.CDLL(str(path))
    assert opened.eb_open((5).to_bytes(4, "little")) == 12  # kernel adds 1, plan[6] is 6


def test_a_c_error_is_one_line_with_the_file_and_the_complaint(tmp_path: Path) -> None:
    native = write_native(tmp_path / "native", source=SOURCE + "\nint broken(void) { return nothing; }")
    with pytest.raises(
        LinkError, match=r"model\.c:\d+:\d+: error: use of undeclared identifier 'nothing'"
    ) as caught:
        link_fake(host_target(), native)
    assert "\n" not in str(caught.value)
    assert "nothing" in str(caught.value.__cause__)  # the whole output is there for EDGEBIT_DEBUG


def test_an_undefined_symbol_is_refused_by_name(tmp_path: Path) -> None:
    source = (
        SOURCE
        + "\nextern int nowhere(void);\n"
        + '__attribute__((visibility("default"))) int eb_more(void) { return nowhere(); }'
    )
    native = write_native(tmp_path / "native", source, HEADER + "EB_API int eb_more(void);\n")
    with pytest.raises(LinkError, match="nowhere"):
        link_fake(host_target(), native)


def test_a_libc_function_outside_the_list_is_refused(tmp_path: Path) -> None:
    source = SOURCE + "\nint puts(const char *);\nint eb_more(void) { return puts(__FILE__); }"
    native = write_native(tmp_path / "native", source, HEADER + "EB_API int eb_more(void);\n")
    with pytest.raises(LinkError, match="needs puts"):
        link_fake(host_target(), native)


def test_thread_local_storage_is_refused(tmp_path: Path) -> None:
    source = SOURCE + "\n_Thread_local int counter;\nint eb_more(void) { return ++counter; }"
    native = write_native(tmp_path / "native", source, HEADER + "EB_API int eb_more(void);\n")
    with pytest.raises(LinkError, match=r"thread-local|__tls_get_addr"):
        link_fake(host_target(), native)


def test_a_library_for_another_machine_is_refused(tmp_path: Path) -> None:
    arm, x86 = load_target("arm64"), load_target("x86_64")
    image = link_fake(arm, write_native(tmp_path / "native"))
    with pytest.raises(LinkError, match="is for arm64"):
        link.check_library(image, x86, frozenset({"eb_open", "eb_version"}))
    with pytest.raises(LinkError, match="pages have 131072"):
        link.check_library(image, replace(arm, page_size=131072), frozenset({"eb_open", "eb_version"}))


def test_symbols_newer_than_the_libc_of_the_target_are_refused(tmp_path: Path) -> None:
    arm = load_target("arm64")
    image = link_fake(arm, write_native(tmp_path / "native"))
    exports = frozenset({"eb_open", "eb_version"})
    assert read_elf(image).versions == {"GLIBC_2.17"}
    with pytest.raises(LinkError, match=r"needs GLIBC_2\.17, which aarch64-linux-gnu\.2\.16 has not"):
        link.check_library(image, replace(arm, zig_target="aarch64-linux-gnu.2.16"), exports)
    with pytest.raises(LinkError, match=r"needs libc\.so\.6"):
        link.check_library(image, replace(arm, libc="bionic"), exports)


def test_a_damaged_library_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    image = link_fake(host_target(), write_native(tmp_path / "native"))
    for size in (0, 5, 63, 64, 500, len(image) - 1):
        with pytest.raises(LinkError, match=r"ELF"):
            link.check_library(image[:size], host_target(), frozenset({"eb_open", "eb_version"}))


def test_only_declarations_marked_eb_api_are_public(tmp_path: Path) -> None:
    assert link.public_functions(write_native(tmp_path / "native") / "edgebit.h") == ["eb_open", "eb_version"]


def test_every_libc_function_of_port_h_is_allowed() -> None:
    text = re.sub(r"/\*.*?\*/", "", (link.NATIVE / "port.h").read_text(), flags=re.DOTALL)
    declared = set(re.findall(r"^[a-z][\w ]*[ *](\w+)\([^;{]*\);", text, flags=re.MULTILINE))
    assert {"malloc", "syscall"} <= declared <= link.LIBC_SYMBOLS
