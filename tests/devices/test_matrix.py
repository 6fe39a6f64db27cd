"""The built-in model on every kind of device: `make test-devices` prints the table of the README.

What each bundle must answer is recorded in its manifest when it is made, by this machine's kernels: prompts,
token ids and the sha256 of all logits. So a row is right when its bundle carries the same record as the one
for this machine and the doctor of the bundle, run there, finds the same ids and bits on every tier the
processor has.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import edgebit
from edgebit.compiler.target import host_target, load_target
from edgebit.host_library import fits_here
from edgebit.schedules.tier import TIERS
from tests.conftest import userland
from tests.devices.conftest import PROPERTY

pytestmark = pytest.mark.devices

PYTHON, NATIVE = "python3 doctor.py", "edgebit-run --doctor"
EMULATORS = {"arm64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64"}
LINE = re.compile(r"^(\w+) +(\d+) +[\d.]+ +(.*)$")


@dataclass(frozen=True)
class Device:
    """A row: what runs the bundle of a target, and the tiers that must answer there, the chosen one first."""

    name: str
    cpu: str
    target: str
    program: str
    tiers: tuple[str, ...]
    debian: str | None = None  # architecture, and suite behind a dash, of the userland
    libc: str | None = None  # the file there that the library finds as libc.so


X86 = [Device("PC", f"this one, {tier}", "x86_64", PYTHON, (tier,)) for tier in load_target("x86_64").tiers]
ARM = [
    Device("Pi 3, Zero 2 W", "cortex-a53", "arm64", PYTHON, ("neon",), "arm64"),
    Device("Pi 4", "cortex-a72", "arm64", PYTHON, ("neon",), "arm64"),
    Device("Pi 5, RK3588", "cortex-a76", "arm64", PYTHON, ("dotprod", "neon"), "arm64"),
    Device("newest ARM", "max", "arm64", PYTHON, ("i8mm", "dotprod", "neon"), "arm64"),
    Device("Debian 11 (glibc 2.31)", "cortex-a72", "arm64", PYTHON, ("neon",), "arm64-bullseye"),
    Device("Debian 13 (glibc 2.41)", "max", "arm64", PYTHON, ("i8mm", "dotprod", "neon"), "arm64-trixie"),
    Device("32-bit Pi OS", "cortex-a15", "armv7", PYTHON, ("armv7neon", "vfp"), "armhf"),
    Device("BeagleBone, no Python", "cortex-a8", "armv7", NATIVE, ("armv7neon", "vfp")),
    Device("Alpine, no Python", "cortex-a53", "musl-arm64", NATIVE, ("neon",)),
    Device(
        "Android library",
        "cortex-a76",
        "android-arm64",
        PYTHON,
        ("dotprod", "neon"),
        "arm64",
        "lib/aarch64-linux-gnu/libc.so.6",
    ),
    Device("Android, adb shell", "cortex-a76", "android-arm64", NATIVE, ("dotprod", "neon")),
    Device("32-bit Android, adb shell", "cortex-a15", "android-armv7", NATIVE, ("armv7neon", "vfp")),
]
RISCV = [Device("RISC-V board", "rv64", "riscv64", NATIVE, ("rv64gc",))]
DEVICES = [*X86, *ARM, *RISCV]


@cache
def compiled(target: str, folder: Path) -> Path:
    return edgebit.compile(target=target, output=folder / target)


@pytest.fixture(scope="session")
def bundle_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return lambda target: compiled(target, folder)


def self_test(bundle: Path) -> Any:
    return json.loads((bundle / "manifest.json").read_text("utf-8"))["self_test"]


def doctor(device: Device, bundle: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command that runs the doctor there, and what it adds to the environment."""
    program = [str(bundle / "edgebit-run"), "--doctor"] if device.program == NATIVE else []
    if device.target == "x86_64":
        return [sys.executable, str(bundle / "doctor.py"), "--tier", device.tiers[0]], {
            "EDGEBIT_TIER": device.tiers[0]
        }
    if device.debian is None:
        emulator = EMULATORS[load_target(device.target).architecture]
        return [emulator, "-cpu", device.cpu, *program], {}
    python = userland(*device.debian.split("-"))
    environment = {"EB_CPU": device.cpu}
    if device.libc:
        (folder / "libc.so").symlink_to(python.with_name(device.debian) / device.libc)
        environment["QEMU_SET_ENV"] = f"LD_LIBRARY_PATH={folder}"
    return [str(python), str(bundle / "doctor.py")], environment


@pytest.mark.parametrize(
    ("place", "device"),
    [
        pytest.param(
            place, device, marks=pytest.mark.xdist_group(device.target), id=f"{device.name}-{device.cpu}"
        )
        for place, device in enumerate(DEVICES)
    ],
)
def test_the_doctor_finds_the_bits_of_this_machine(
    place: int,
    device: Device,
    bundle_for: Callable[[str], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    if device.target == "x86_64":
        if platform.machine() != "x86_64":
            pytest.skip("this machine is no x86-64")
        if not fits_here(TIERS[device.tiers[0]]):
            pytest.skip(f"this processor lacks {device.tiers[0]}")
    bundle = bundle_for(device.target)
    record = self_test(bundle)
    assert len(record) == 3 and record == self_test(bundle_for(host_target().name))
    command, environment = doctor(device, bundle, tmp_path)
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **environment}
    )
    said = result.stdout.splitlines()
    assert result.returncode == 0 and said[-1].startswith("right: "), result.stdout + result.stderr
    runs = [found.groups() for line in said if (found := LINE.match(line))]
    record_property(
        PROPERTY,
        (place, device.name, device.cpu, device.target, device.program, ", ".join(device.tiers)),
    )
    assert {outcome for _, _, outcome in runs} == {"right"}
    assert tuple(dict.fromkeys(tier for tier, _, _ in runs)) == device.tiers
    assert f"takes {device.tiers[0]} " in result.stdout


@pytest.mark.xdist_group("arm64")
def test_a_tier_the_processor_lacks_is_an_error_and_no_crash(bundle_for: Callable[[str], Path]) -> None:
    command = [str(bundle_for("arm64") / "edgebit-run"), "-p", "x"]
    result = subprocess.run(
        ["qemu-aarch64", "-cpu", "cortex-a72", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "EDGEBIT_TIER": "dotprod"},
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "this CPU lacks dotprod" in result.stderr
