"""Runs compiled kernels on every CPU tier this workstation can execute: x86 natively, others under qemu-user.

The kernels of a tier are linked with driver.c into one static program; `Program.run` hands it buffers and a
list of calls, and returns the buffers afterwards. Every buffer is 64-byte aligned, with guards around it.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.schedules.catalogue import Kernel
from edgebit.schedules.lowering import compile_object
from edgebit.schedules.tier import TIERS, Tier

Array = npt.NDArray[Any]

ZIG = (sys.executable, "-m", "ziglang", "cc")
DRIVER = Path(__file__).with_name("driver.c")
TRIPLES = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "armv7": "armv7a-unknown-linux-gnueabihf",
    "riscv64": "riscv64-unknown-linux-gnu",
}
_ZIG_TARGETS = {
    "x86_64": "x86_64-linux-none",
    "arm64": "aarch64-linux-none",
    "armv7": "arm-linux-musleabihf",
    "riscv64": "riscv64-linux-none",
}
_ZIG_FLAGS = (
    "-O1",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-sanitize=all",
    "-nostdlib",
    "-rtlib=compiler-rt",
    "-static",
)
_STATUS = {2: "the driver could not read its input", 3: "a kernel wrote outside of a buffer"}
_QEMU = {"arm64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64"}
# The oldest processor that has the tier and that qemu knows: it raises SIGILL on any instruction beyond it.
_QEMU_CPUS = {
    "neon": "cortex-a72",
    "dotprod": "cortex-a76",
    "i8mm": "max,sve=off",
    "armv7neon": "cortex-a8",
    "vfp": "cortex-a8",
    "rv64gc": "sifive-u54",
}
# native/cpu.h names on the left, /proc/cpuinfo on the right, where they differ.
_CPUINFO_NAMES = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni"}

TIER_NAMES = tuple(TIERS)
"""`launcher` skips those that this workstation cannot run."""

FLOAT_TIER_NAMES = tuple(name for name, tier in TIERS.items() if tier.base is None)
"""Tiers with float kernels of their own; the others use those of one of these."""


@dataclass(frozen=True)
class Call:
    """One call: buffers by name, or (name, offset in bytes), or None."""

    kernel: str
    buffers: Sequence[str | tuple[str, int] | None]
    scalars: Sequence[int]


@dataclass(frozen=True)
class Program:
    """Kernels of one tier, linked with the driver."""

    tier: Tier
    symbols: tuple[str, ...]
    executable: Path
    launcher: tuple[str, ...]

    def run(self, buffers: Mapping[str, Array], calls: Sequence[Call]) -> dict[str, Array]:
        """The buffers after all calls; those given stay as they are. A crash or a write outside fails."""
        names = list(buffers)
        done = subprocess.run(
            [*self.launcher, str(self.executable)],
            input=self._encode(names, buffers, calls),
            capture_output=True,
            check=False,
        )
        status = _STATUS.get(done.returncode, f"status {done.returncode}")
        assert done.returncode == 0, f"{self.tier.name}: {status} {done.stderr.decode()}"
        after, position = {}, 0
        for name in names:
            before = buffers[name]
            flat = np.frombuffer(done.stdout, before.dtype, before.size, position)
            after[name] = flat.reshape(before.shape).copy()
            position += before.nbytes
        return after

    def _encode(self, names: list[str], buffers: Mapping[str, Array], calls: Sequence[Call]) -> bytes:
        parts = [struct.pack("<I", len(names))]
        for name in names:
            data = np.ascontiguousarray(buffers[name]).tobytes()
            parts += [struct.pack("<Q", len(data)), data]
        parts.append(struct.pack("<I", len(calls)))
        for call in calls:
            parts.append(struct.pack("<I", self.symbols.index(call.kernel)))
            places = [buffer if isinstance(buffer, tuple) else (buffer, 0) for buffer in call.buffers]
            for place, offset in places + [(None, 0)] * (8 - len(places)):
                parts.append(struct.pack("<iQ", -1 if place is None else names.index(place), offset))
            parts.append(struct.pack("<8i", *call.scalars, *[0] * (8 - len(call.scalars))))
        body = b"".join(parts)
        return struct.pack("<Q", len(body)) + body


def launcher(tier: Tier) -> tuple[str, ...]:
    """The command in front of a program of the tier; skips the test, with the reason, where it cannot run."""
    if tier.architecture == "x86_64":
        flags = Path("/proc/cpuinfo").read_text()
        missing = [
            f for f in tier.requires if f" {_CPUINFO_NAMES.get(f, f)} " not in flags.replace("\n", " \n")
        ]
        if missing:
            pytest.skip(f"this processor has no {', '.join(missing)}")
        return ()
    name = _QEMU[tier.architecture]
    qemu = shutil.which(name) or shutil.which(f"{name}-static")
    if qemu is None:
        reason = f"{name} is not installed (package qemu-user)"
        if os.environ.get("EDGEBIT_REQUIRE_ARM") == "1":
            pytest.fail(f"EDGEBIT_REQUIRE_ARM=1, but {reason}")
        pytest.skip(reason)
    return (qemu, "-cpu", _QEMU_CPUS[tier.name])


def link(build: Callable[[], Mapping[str, Any]], tier: Tier, folder: Path) -> Program:
    """Compile what `build` returns by symbol and link it with the driver in `folder`.

    Kernels of the catalogue are compiled for the tier they name, PrimFuncs for the tier given.

    Skips the test, before anything is built, where programs of the tier cannot run.
    """
    command = launcher(tier)
    kernels = build()
    symbols = tuple(sorted(kernels))
    folder.mkdir(parents=True, exist_ok=True)
    objects = _compile_objects(kernels, tier, folder)
    declarations = "".join(f"void {symbol}(void);\n" for symbol in symbols)
    entries = ", ".join(f"(void *){symbol}" for symbol in symbols)
    (folder / "table.c").write_text(f"{declarations}void *const kernels[] = {{{entries}}};\n")
    executable = folder / f"driver-{tier.name}"
    subprocess.run(
        [
            *(*ZIG, "-target", _ZIG_TARGETS[tier.architecture], *_ZIG_FLAGS, "-w", "-o", str(executable)),
            *(str(DRIVER), "table.c", *objects),
        ],
        cwd=folder,
        check=True,
    )
    return Program(tier, symbols, executable, command)


def _compile_objects(kernels: Mapping[str, Any], tier: Tier, folder: Path) -> list[str]:
    """An object file for each tier that has one of the kernels: their names in `folder`."""
    by_tier: dict[str, dict[str, Any]] = {}
    for symbol, built in kernels.items():
        own = isinstance(built, Kernel)
        functions = by_tier.setdefault(built.tier.name if own else tier.name, {})
        functions[symbol] = built.prim_func if own else built
    for name, functions in by_tier.items():
        code = compile_object(functions, TIERS[name], TRIPLES[tier.architecture])
        (folder / f"kernels-{name}.o").write_bytes(code)
    return [f"kernels-{name}.o" for name in by_tier]


def same_bits(actual: Array, expected: Array) -> None:
    """Fails unless both arrays have the same bits; shows the first elements that differ."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    unsigned = f"u{actual.dtype.itemsize}"
    different = np.flatnonzero(actual.view(unsigned).ravel() != expected.view(unsigned).ravel())
    if different.size:
        shown = [(int(i), actual.ravel()[i].item(), expected.ravel()[i].item()) for i in different[:4]]
        raise AssertionError(f"{different.size} of {actual.size} differ: (index, actual, expected) {shown}")
