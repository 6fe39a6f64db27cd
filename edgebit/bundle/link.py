"""Linking: runtime C sources, the generated plan and the kernels of every tier become one libmodel.so.

The runtime is compiled once, for the library and for the program beside it (edgebit/bundle/program.py), and
its object is kept as those of kernels are.
The linker is `zig cc` of the ziglang wheel: a cross compiler for every target with the glibc version pinned.
It runs in a temporary folder on relative paths only: equal input gives equal bytes on every workstation.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edgebit.bundle.elf import ElfFile, read_elf
from edgebit.compiler.kernel_cache import kept
from edgebit.compiler.target import BIONIC, GLIBC, MUSL, Target
from edgebit.errors import LinkError
from edgebit.user_cache import user_cache

LIBRARY = "libmodel.so"
SOURCES_OBJECT = "sources.o"
RUNTIME_OBJECT = "runtime.o"  # the sources and the plan
NATIVE = Path(__file__).resolve().parent.parent / "runtime" / "native"

LINK_FLAGS = (
    "-shared",
    "-s",
    "-Wl,--gc-sections",
    "-Wl,-z,defs",
    "-Wl,-z,noexecstack",
    "-Wl,--build-id=none",
    "-Wl,--version-script=exports.map",
    f"-Wl,-soname,{LIBRARY}",
)

# What native/port.h declares, and what compilers put in place of loops. A device has these whatever its libc.
LIBC_SYMBOLS = frozenset(
    "bcmp clock_gettime free getauxval getenv malloc memcmp memcpy memmove memset mmap munmap "
    "pthread_create pthread_join strlen syscall".split()
)
# Libraries that hold them; musl's and bionic's loaders know their libc by this name.
LIBC_NAMES = {
    GLIBC: frozenset({"libc.so.6", "libpthread.so.0"}),
    MUSL: frozenset({"libc.so"}),
    BIONIC: frozenset({"libc.so"}),
}
GLIBC_LOADERS = frozenset(
    {"ld-linux-aarch64.so.1", "ld-linux-armhf.so.3", "ld-linux-riscv64-lp64d.so.1", "ld-linux-x86-64.so.2"}
)


_SOURCES: dict[str, bytes] = {}
"""Objects that this process has needed: a model is often compiled twice, to be run and to be written."""


class ToolOutput(Exception):
    """All that a failed tool wrote: the cause of a LinkError, shown by EDGEBIT_DEBUG=1."""


@dataclass(frozen=True)
class Parts:
    """What library and program have in common, compiled, in a working folder."""

    folder: Path
    target: Target
    native: Path  # sources of the runtime
    inputs: tuple[str, ...]  # relative paths in link order


def link_library(
    target: Target, plan_source: str, objects: Mapping[str, Sequence[bytes]], native: Path = NATIVE
) -> bytes:
    """libmodel.so of one bundle: `native`/*.c, the generated plan.c and the kernels of every tier.

    Raises LinkError with the first complaint of the tool, or naming what in it a device could not load.
    """
    with compiled_parts(target, plan_source, objects, native) as parts:
        return library_of(parts)


@contextmanager
def compiled_parts(
    target: Target, plan_source: str, objects: Mapping[str, Sequence[bytes]], native: Path = NATIVE
) -> Iterator[Parts]:
    """The runtime and the plan as one object, the kernels beside it; the folder goes with the block.

    Raises LinkError with the first complaint of the compiler.
    """
    with tempfile.TemporaryDirectory(prefix="edgebit-link-") as folder:
        work = Path(folder)
        sources, kernels = lay_out(work, plan_source, objects, native)
        flags = ["-target", target.zig_target, *target.link_flags, *compile_flags(native), "-r", "-o"]

        def compiled_sources() -> bytes:
            run_zig(work, target.zig_target, [*flags, SOURCES_OBJECT, *sources])
            return (work / SOURCES_OBJECT).read_bytes()

        name = sources_name(flags, native)
        if name not in _SOURCES:
            _SOURCES[name] = kept(name, compiled_sources)
        (work / SOURCES_OBJECT).write_bytes(_SOURCES[name])
        run_zig(work, target.zig_target, [*flags, RUNTIME_OBJECT, SOURCES_OBJECT, "plan.c"])
        yield Parts(work, target, native, (RUNTIME_OBJECT, *kernels))


def sources_name(flags: Sequence[str], native: Path) -> str:
    """All that the object of the runtime's sources depends on."""
    digest = hashlib.sha256()
    for path in sorted([*native.glob("*.c"), *native.glob("*.h")]):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return f"runtime {digest.hexdigest()} {' '.join(flags)} {version('ziglang')}"


def library_of(parts: Parts) -> bytes:
    """libmodel.so. Raises LinkError as `link_library`."""
    work, target = parts.folder, parts.target
    exports = public_functions(parts.native / "edgebit.h")
    symbols = "".join(f" {name};" for name in exports)
    (work / "exports.map").write_text(f"{{ global:{symbols} local: *; }};\n")
    libc = ["-lpthread"] if target.libc != BIONIC else stub_libc(work, target)
    run_zig(work, target.zig_target, [*link_flags(target), *parts.inputs, *libc])
    image = (work / LIBRARY).read_bytes()
    check_library(image, target, frozenset(exports))
    return image


def lay_out(
    work: Path, plan_source: str, objects: Mapping[str, Sequence[bytes]], native: Path
) -> tuple[list[str], list[str]]:
    """Copies every input into the working folder; returns the relative paths of the runtime's C sources and
    of kernels.
    """
    sources = sorted(native.glob("*.c"))
    if not sources:
        raise LinkError(f"{native}: no C sources of the runtime; reinstall edgebit")
    for path in [*sources, *sorted(native.glob("*.h"))]:
        (work / path.name).write_bytes(path.read_bytes())
    (work / "plan.c").write_text(plan_source, "utf-8")
    kernels = {
        f"kernels-{tier}-{i}.o": code for tier, codes in objects.items() for i, code in enumerate(codes)
    }
    for name, code in kernels.items():
        (work / name).write_bytes(code)
    return [path.name for path in sources], list(kernels)


def public_functions(header: Path) -> list[str]:
    """Names declared EB_API in the public header: the exports of the library, and the only ones."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text("utf-8"), flags=re.DOTALL)
    names = sorted(set(re.findall(r"^EB_API\b[^;(]*?\b(eb_\w+)\s*\(", text, flags=re.MULTILINE)))
    if not names:
        raise LinkError(f"{header}: declares no EB_API function")
    return names


def compile_flags(native: Path) -> list[str]:
    """One flag a line of compile_flags.txt: editors (clangd), tests and this linker read the same file."""
    return (native / "compile_flags.txt").read_text("utf-8").split()


def link_flags(target: Target) -> list[str]:
    return [
        "-target",
        target.zig_target,
        *LINK_FLAGS,
        f"-Wl,-z,max-page-size={target.page_size}",
        *target.link_flags,
        "-o",
        LIBRARY,
    ]


def stub_libc(work: Path, target: Target) -> list[str]:
    """Flags that link against a libc.so of names alone: the device has the libc, nobody needs an NDK."""
    stub = "".join(f"void {name}(void) {{}}\n" for name in sorted(LIBC_SYMBOLS))
    (work / "libc.c").write_text(stub)
    flags = ["-target", target.zig_target, *target.link_flags, "-nostdlib", "-fno-builtin", "-w"]
    run_zig(work, target.zig_target, [*flags, "-shared", "-Wl,-soname,libc.so", "-o", "libc.so", "libc.c"])
    return ["-nostdlib", "-rtlib=compiler-rt", "libc.so"]


def run_zig(work: Path, zig_target: str, arguments: Sequence[str]) -> None:
    # The temporary folder's name must not reach the library, whatever a source does with __FILE__.
    prefix_map = f"-ffile-prefix-map={work}=."
    command = [str(zig_executable()), "cc", prefix_map, *arguments]
    result = subprocess.run(
        command,
        cwd=work,
        env=zig_environment(work),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        complaints = [line.strip() for line in result.stderr.splitlines() if "error:" in line]
        first = complaints[0] if complaints else (result.stderr.strip() or f"exit code {result.returncode}")
        detail = ToolOutput(f"{' '.join(command)}\n{result.stderr}")
        raise LinkError(f"zig cc for {zig_target} failed: {first[:300]}") from detail


def zig_executable() -> Path:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise LinkError("the linker is missing: pip install ziglang")
    return Path(spec.origin).with_name("zig")


def zig_environment(work: Path) -> dict[str, str]:
    """The global cache keeps compiler-rt and libc stubs (6 s to make); the local one goes with its folder."""
    environment = dict(os.environ)
    environment["ZIG_LOCAL_CACHE_DIR"] = str(work / "zig-cache")
    if "ZIG_GLOBAL_CACHE_DIR" not in environment:
        environment["ZIG_GLOBAL_CACHE_DIR"] = str(user_cache("zig") or work / "zig-global-cache")
    return environment


def check_library(image: bytes, target: Target, exports: frozenset[str]) -> ElfFile:
    """What a device's loader would trip over, found here. Raises LinkError naming it."""
    try:
        library = read_elf(image)
    except ValueError as error:
        raise LinkError(f"{LIBRARY} for {target.name}: {error}") from error
    libraries = LIBC_NAMES[target.libc] | (GLIBC_LOADERS if target.libc == GLIBC else frozenset())
    too_new = frozenset(version for version in library.versions if not has_version(target, version))
    findings = [
        (library.architecture != target.architecture, f"is for {library.architecture}"),
        (library.exported != exports, f"exports {naming(library.exported ^ exports)} against edgebit.h"),
        (not library.undefined <= LIBC_SYMBOLS, f"needs {naming(library.undefined - LIBC_SYMBOLS)}"),
        (not library.needed <= libraries, f"needs {naming(library.needed - libraries)}"),
        (bool(too_new), f"needs {naming(too_new)}, which {target.zig_target} has not"),
        (
            library.alignment < target.page_size,
            f"is aligned to {library.alignment}, pages have {target.page_size}",
        ),
        (library.has_thread_local_storage, "has thread-local storage"),
        (library.has_writable_code, "has a segment that is writable and executable"),
    ]
    for wrong, finding in findings:
        if wrong:
            raise LinkError(f"{LIBRARY} for {target.name} {finding}; a device could not load it")
    return library


def has_version(target: Target, version: str) -> bool:
    """Whether the target's libc has a symbol version such as GLIBC_2.17; only glibc has any."""
    if target.libc != GLIBC or not version.startswith("GLIBC_"):
        return False
    oldest = re.search(r"\.(\d+)\.(\d+)$", target.zig_target)
    found = tuple(int(number) for number in version.removeprefix("GLIBC_").split("."))
    return oldest is not None and found <= (int(oldest[1]), int(oldest[2]), 0)


def naming(symbols: frozenset[str]) -> str:
    return ", ".join(sorted(symbols)[:5])
