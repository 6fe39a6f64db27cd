"""Cycles of blocks of machine code on a core, as llvm-mca's scheduling models predict them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.arm.emulate import ROOT, Blocks
from edgebit.errors import TargetError

PACKAGE = "llvm-19"
_OLDEST = 17  # before it LLVM had no model of Neoverse N1, the core of which Cortex-A76 is the sister
_NEWEST = 40
_ITERATIONS = 100
_COVERED = 0.998  # share of executed instructions whose blocks are simulated; the rest goes at their average
_FEATURES = "-mattr=+v8.2a,+dotprod,+fullfp16,+i8mm"


class Core:
    """One processor model of LLVM; blocks are simulated once and remembered."""

    def __init__(self, mcpu: str) -> None:
        """Installs LLVM where it is missing. Raises TargetError where it cannot."""
        self.mcpu = mcpu
        self._version = llvm_version()
        self._cycles: dict[bytes, float] = {}

    def learn(self, runs: Iterable[Blocks]) -> None:
        """Simulate every block that matters in any of ``runs``."""
        wanted = {code for blocks in runs for code in _hot(blocks)} - self._cycles.keys()
        if wanted:
            self._cycles |= self._simulate(sorted(wanted))

    def cycles(self, blocks: Blocks) -> float:
        """Cycles of blocks that were learned, each as if it ran again and again on data in the L1 cache."""
        known = {code: runs for code, runs in blocks.items() if code in self._cycles}
        simulated = sum(self._cycles[code] * runs for code, runs in known.items())
        covered = instructions(known)
        return simulated * instructions(blocks) / covered if covered else 0.0

    def _simulate(self, codes: Sequence[bytes]) -> dict[bytes, float]:
        assembly = self._disassemble(codes)
        regions = [f"# LLVM-MCA-BEGIN b{i}\n{text}\n# LLVM-MCA-END" for i, text in enumerate(assembly)]
        options = ["--json", f"-iterations={_ITERATIONS}", "--skip-unsupported-instructions=any"]
        report = json.loads(self._tool("llvm-mca", options, "\n".join(regions)))
        found: dict[bytes, float] = {}
        for region in report["CodeRegions"]:
            summary = region["SummaryView"]
            found[codes[int(region["Name"][1:])]] = summary["TotalCycles"] / summary["Iterations"]
        return found

    def _disassemble(self, codes: Sequence[bytes]) -> list[str]:
        text = "\n".join(" ".join(f"0x{byte:02x}" for byte in code) for code in codes)
        output = self._tool("llvm-mc", ["--disassemble"], text)
        lines = [line for line in output.splitlines() if line.strip() and not re.match(r"\s*\.text", line)]
        total = sum(len(code) // 4 for code in codes)
        if len(lines) != total:
            raise TargetError(f"llvm-mc read {len(lines)} of {total} executed instructions")
        remaining = iter(lines)
        return ["\n".join(next(remaining) for _ in range(len(code) // 4)) for code in codes]

    def _tool(self, name: str, options: Sequence[str], text: str) -> str:
        command = [f"{name}-{self._version}", "-triple=aarch64" if name == "llvm-mc" else "-mtriple=aarch64"]
        done = subprocess.run(
            [*command, f"-mcpu={self.mcpu}", _FEATURES, *options],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TargetError(f"{command[0]} for {self.mcpu}: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout


def instructions(blocks: Blocks) -> int:
    return sum(len(code) // 4 * runs for code, runs in blocks.items())


def simd_instructions(blocks: Blocks) -> int:
    """Those of the encoding group "SIMD and floating-point data processing"."""
    return sum(
        runs * sum(code[i + 3] >> 1 & 7 == 7 for i in range(0, len(code), 4)) for code, runs in blocks.items()
    )


def _hot(blocks: Mapping[bytes, int]) -> list[bytes]:
    """The blocks in which most instructions run."""
    ranked = sorted(blocks, key=lambda code: (-len(code) * blocks[code], code))
    total, seen, hot = instructions(blocks), 0, []
    for code in ranked:
        if seen >= _COVERED * total:
            break
        seen += len(code) // 4 * blocks[code]
        hot.append(code)
    return hot


def llvm_version() -> int:
    """The newest LLVM whose tools are installed; installs one where there is none, or raises TargetError."""
    found = _installed()
    if found is None:
        command = [str(ROOT / "scripts" / "system_packages.sh"), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = _installed()
        if found is None:
            reason = (done.stderr.strip().splitlines() or ["no llvm-mca in it"])[-1]
            raise TargetError(f"llvm-mca of LLVM {_OLDEST} or later is missing (package {PACKAGE}): {reason}")
    return found


def _installed() -> int | None:
    versions = range(_NEWEST, _OLDEST - 1, -1)
    tools = ("llvm-mca", "llvm-mc")
    return next((v for v in versions if all(shutil.which(f"{tool}-{v}") for tool in tools)), None)
