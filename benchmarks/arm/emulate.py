"""A bundle run in the emulated ARM userland while every block of instructions is counted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebit.bundle.link import LIBRARY, NATIVE, zig_executable
from edgebit.compiler.target import load_target
from edgebit.errors import TargetError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent
BOUNDARY, SAMPLED, EVALUATED = -1, 1, 2  # program.c
Blocks = Mapping[bytes, int]  # machine code of a block: how often it ran


@dataclass(frozen=True)
class Interval:
    """What ran up to the end of a step: phase and step as in edgebit.h, or BOUNDARY and what ended there."""

    phase: int
    step: int
    blocks: Blocks

    @property
    def instructions(self) -> int:
        return sum(len(code) // 4 * runs for code, runs in self.blocks.items())


class Emulator:
    """qemu-user with the counting plugin, and the userland of scripts/userland.sh."""

    def __init__(self, work: Path) -> None:
        """Installs and builds what is missing, in ``work``. Raises TargetError where it cannot."""
        cache = Path(os.environ.get("EDGEBIT_ARM_CACHE", ROOT / ".cache" / "arm"))
        make = [str(ROOT / "scripts" / "userland.sh"), "arm64", "default", str(cache)]
        run_tool(make, "the ARM userland could not be made")
        qemu = shutil.which("qemu-aarch64")
        if qemu is None:
            raise TargetError("qemu-aarch64 is not installed; install the Debian package qemu-user")
        self._qemu = qemu
        self._userland = cache / "arm64"
        self._work = work
        self._plugin = build_plugin("counter", work)

    def run(self, bundle: Path, tier: str, cpu: str, prompt: int, decoded: int) -> list[Interval]:
        """Intervals in order of time: a prompt of so many tokens, then ``decoded`` tokens one by one.

        Raises TargetError when the bundle does not run on the emulated ``cpu`` or takes another tier.
        """
        program, report = self._work / "program", self._work / "counts"
        zig_target = load_target("arm64").zig_target
        build = [str(zig_executable()), "cc", "-O1", "-target", zig_target, f"-I{NATIVE}"]
        build += ["-o", str(program), str(SOURCES / "program.c"), str(bundle / LIBRARY)]
        run_tool(build, "program.c could not be built")
        paths = f"LD_LIBRARY_PATH={bundle},EDGEBIT_TIER={tier}"
        emulator = [self._qemu, "-cpu", cpu, "-L", str(self._userland), "-E", paths]
        emulator += ["-plugin", f"{self._plugin},out={report}"]
        output = run_tool(
            [*emulator, str(program), str(bundle), str(prompt), str(decoded)],
            f"{bundle} does not run on an emulated {cpu}",
        )
        used, *marks = output.splitlines()
        if used != tier:
            raise TargetError(f"{bundle} ran its {used} kernels on {cpu}, expected {tier}")
        places = [tuple(map(int, mark.split())) for mark in marks]
        counts = read_report(report)
        return [Interval(phase, step, blocks) for (phase, step), blocks in zip(places, counts, strict=True)][
            1:
        ]


def build_plugin(name: str, folder: Path) -> Path:
    """The qemu plugin ``name``.c, built in ``folder``. Raises TargetError."""
    plugin = folder / f"{name}.so"
    flags = ["-O2", "-shared", "-fPIC", "-Wl,--allow-shlib-undefined"]
    command = [str(zig_executable()), "cc", *flags, "-o", str(plugin), str(SOURCES / f"{name}.c")]
    run_tool(command, f"{name}.c could not be built")
    return plugin


def read_report(path: Path) -> list[Blocks]:
    """What counter.c wrote: the blocks that ran before each mark."""
    lines = path.read_text().splitlines()
    code = {
        number: bytes.fromhex("".join(_little_endian(digits)))
        for _, number, digits in (line.split(" ") for line in lines if line.startswith("block "))
    }
    marks: list[Blocks] = []
    current: Counter[bytes] = Counter()
    for line in lines:
        if line == "mark":
            marks.append(current)
            current = Counter()
        elif not line.startswith("block "):
            number, runs = line.split(" ")
            current[code[number]] += int(runs)
    return marks


def _little_endian(digits: str) -> Iterator[str]:
    for begin in range(0, len(digits), 8):
        word = digits[begin : begin + 8]
        yield word[6:8] + word[4:6] + word[2:4] + word[0:2]


def run_tool(command: Sequence[str], complaint: str) -> str:
    """What a command prints; TargetError with the complaint and its last line when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise TargetError(f"{complaint}: {lines[-1]}")
    return done.stdout
