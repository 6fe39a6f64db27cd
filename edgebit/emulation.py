"""Programs for another architecture on this machine: qemu-user, where it is installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

PROGRAMS = {"x86_64": "qemu-x86_64", "arm64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64"}

CPUS = {"x86_64": ("max",), "arm64": ("max", "cortex-a72")}
"""Processors to emulate: one that has all, and one of the baseline, on which qemu-user raises SIGILL where
kernels use more. Of other architectures qemu's default, which exists in every release.
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
    cpus = CPUS.get(architecture, ())
    return Emulator(name, tuple((path, "-cpu", cpu) for cpu in cpus) or ((path,),))
