"""edgebit-run: the runtime, the kernels and a main program in C as one static executable of a bundle.

It needs no Python and no library of the device: musl is linked in, so the same file runs on any Linux kernel
of its architecture, Android's too.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgebit.bundle.elf import read_elf
from edgebit.bundle.link import Parts, compile_flags, naming, run_zig
from edgebit.compiler.target import BIONIC, Target
from edgebit.errors import LinkError

PROGRAM = "edgebit-run"
FOLDER = "program"  # of its sources, beside those of the runtime

MUSL_TARGETS: Mapping[str, str] = {
    "x86_64": "x86_64-linux-musl",
    "arm64": "aarch64-linux-musl",
    "armv7": "arm-linux-musleabihf",
    "riscv64": "riscv64-linux-musl",
}
SOFT_FLOAT_ARGUMENTS = "arm-linux-musleabi"  # 32-bit Android passes them in integer registers

LINK_FLAGS = (
    "-static",
    "-s",
    "-Wl,--gc-sections",
    "-Wl,-z,noexecstack",
    "-Wl,--build-id=none",
    "-Wl,-z,stack-size=1048576",  # of each thread: musl takes it from here
)


def program_of(parts: Parts) -> bytes:
    """edgebit-run of the model whose runtime is in `parts`: a main program around edgebit.h.

    Raises LinkError with the first complaint of the tool, or naming what in it a device could not run.
    """
    target, sources = parts.target, parts.native.parent / FOLDER
    own = copy_sources(parts)
    flags = [flag for flag in compile_flags(sources) if not flag.startswith("-I")]
    page = f"-Wl,-z,max-page-size={target.page_size}"
    zig_target = musl_target(target)
    arguments = ["-target", zig_target, *target.link_flags, *flags, "-I.", *LINK_FLAGS, page]
    run_zig(parts.folder, zig_target, [*arguments, "-o", PROGRAM, *own, *parts.inputs])
    image = (parts.folder / PROGRAM).read_bytes()
    check_program(image, target)
    return image


def copy_sources(parts: Parts) -> list[str]:
    """Puts the program's sources into a folder of their own; returns the relative paths of the C files."""
    sources, copies = parts.native.parent / FOLDER, parts.folder / FOLDER
    copies.mkdir()
    files = sorted(sources.glob("*.[ch]"))
    for path in files:
        (copies / path.name).write_bytes(path.read_bytes())
    own = [f"{FOLDER}/{path.name}" for path in files if path.suffix == ".c"]
    if not own:
        raise LinkError(f"{sources}: no C sources of {PROGRAM}; reinstall edgebit")
    return own


def musl_target(target: Target) -> str:
    """What zig calls a static Linux program of the target's architecture."""
    if target.architecture == "armv7" and target.libc == BIONIC:
        return SOFT_FLOAT_ARGUMENTS
    if target.architecture not in MUSL_TARGETS:
        known = ", ".join(MUSL_TARGETS)
        raise LinkError(
            f"target {target.name}: no static program for {target.architecture}; architectures are {known}"
        )
    return MUSL_TARGETS[target.architecture]


def check_program(image: bytes, target: Target) -> None:
    """What a device would trip over, found here. Raises LinkError naming it."""
    try:
        program = read_elf(image)
    except ValueError as error:
        raise LinkError(f"{PROGRAM} for {target.name}: {error}") from error
    wanted = program.needed | program.undefined
    findings = [
        (program.architecture != target.architecture, f"is for {program.architecture}"),
        (bool(wanted), f"needs {naming(wanted)}"),
        (program.has_interpreter, "is loaded by a program of the system"),
        (
            program.alignment < target.page_size,
            f"is aligned to {program.alignment}, pages have {target.page_size}",
        ),
        (program.has_writable_code, "has a segment that is writable and executable"),
    ]
    for wrong, finding in findings:
        if wrong:
            raise LinkError(f"{PROGRAM} for {target.name} {finding}; a device could not run it")
