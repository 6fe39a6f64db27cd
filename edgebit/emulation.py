"""Programs for another architecture on this machine: qemu-user, where it is installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

PROGRAMS = {"x86_64": "qemu-x86_64", "arm64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64"}

CPUS = {"arm64": ("max", "cortex-a76", "cortex-a72"), "riscv64": ("rv64",)}
"""Processors that differ in their kernels: all extensions, dot product, armv8.0. qemu-user raises SIGILL on
what the processor lacks. Of other architectures the emulator's best is taken; for RISC-V older ones have no
"max".
"""


@dataclass(frozen=True)
class Emulator:
    """How to run static executables of an architecture: command lines to put in front, one for each CPU."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def emulator_name(architecture: str) -> str:
    return PROGRAMS.get(architecture, f"emulator of {architecture}")


def find_emulator(architecture: str) -> Emulator | None:
    """The emulator of an architecture, None where this machine has none."""
    name = emulator_name(architecture)
    path = shutil.which(name) or shutil.which(f"{name}-static")
    if path is None:
        return None
    return Emulator(name, tuple((path, "-cpu", cpu) for cpu in CPUS.get(architecture, ("max",))))
