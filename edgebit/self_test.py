"""The self-test of a bundle in the making: what it must answer is recorded, and then it is asked.

Expected values come from the same weights.bin and plan: by the bundle's own library where this machine loads
it, otherwise by a library with this machine's kernels (host_library.py). A bundle for another architecture is
asked under emulation.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebit.bundle.link import LIBRARY
from edgebit.bundle.manifest import MANIFEST, parse_manifest
from edgebit.bundle.program import PROGRAM
from edgebit.bundle.samples import record_samples
from edgebit.compiler import CompiledModel
from edgebit.compiler.summary import streamed_bytes
from edgebit.emulation import emulator_name, find_emulator
from edgebit.errors import SelfTestError
from edgebit.host_library import best_tier, fits_here, runs_here, write_host_library
from edgebit.progress import Progress
from edgebit.runtime.self_test import AnySample, Sample
from edgebit.schedules.tier import TIERS

DOCTOR = "doctor.py"
MOST_ON_ALL_TIERS = 20e9
"""Multiplications of a self-test that this machine runs on all its tiers, the best with one thread and with
all: two seconds on SSE2. Of larger models it runs the tier that the bundle takes here with one thread: what
that must answer was recorded with all.
"""
MOST_EMULATED = 20e9
"""Multiplications that are emulated, of all runs together: qemu-user does 0.2 to 0.6 billion a second."""
WEIGHTS_PER_BYTE = 4
RIGHT = "right: "  # how a verdict begins


class UntestedWarning(UserWarning):
    """A bundle was made whose self-test could not be run here, and why."""


@dataclass(frozen=True)
class SelfTest:
    """Records and runs the self-test of one model (a `Tester` of edgebit.bundle.writer)."""

    compiled: CompiledModel
    progress: Progress

    def record(self, folder: Path, weights_id: bytes) -> list[AnySample]:
        """Samples of the model whose weights, library and tokenizer are in ``folder``. Raises BundleError
        where it gives no answers, CompileError, LinkError.
        """
        with best_tier(), tempfile.TemporaryDirectory(prefix="edgebit-host-") as work:
            own = folder / LIBRARY
            here = runs_here(self.compiled.target)
            library = own if here else write_host_library(self.compiled, weights_id, Path(work))
            return record_samples(folder, library, self.compiled.task)

    def run(self, bundle: Path) -> None:
        """Run the self-test of a complete bundle. Raises SelfTestError; an UntestedWarning says why it could
        not be run.
        """
        self.progress.stage("run self-test")
        samples = parse_manifest((bundle / MANIFEST).read_text("utf-8")).self_test
        work = multiplications(self.compiled, samples)
        if runs_here(self.compiled.target):
            self._run_here(bundle, work)
        elif reason := self._run_emulated(bundle, work):
            warnings.warn(
                f"the self-test was not run: {reason}; run {DOCTOR} of the bundle on the device",
                UntestedWarning,
                stacklevel=4,
            )

    def _run_here(self, bundle: Path, work: float) -> None:
        tiers = [name for name in self.compiled.objects if fits_here(TIERS[name])]
        is_small = work <= MOST_ON_ALL_TIERS
        options = [word for name in (tiers if is_small else tiers[:1]) for word in ("--tier", name)]
        options += [] if is_small else ["--threads", "1"]
        ask([sys.executable, str(bundle / DOCTOR), *options], "on this machine")

    def _run_emulated(self, bundle: Path, work: float) -> str:
        """Why it could not be run; "" where it was."""
        architecture = self.compiled.target.architecture
        emulator = find_emulator(architecture)
        if emulator is None:
            return f"there is no {emulator_name(architecture)} here (Debian: apt install qemu-user)"
        work *= len(emulator.commands) * (
            len(self.compiled.objects) + 1
        )  # all tiers, one with one thread too
        if work > MOST_EMULATED:
            return f"{work / 1e9:.0f} billion multiplications would take minutes under {emulator.name}"
        for command in emulator.commands:
            program = [*command, str(bundle / PROGRAM), str(bundle), "--doctor"]
            said = ask(program, f"under {' '.join(command)}")
            if not said.startswith(RIGHT):
                return f"{PROGRAM} gave no verdict: {said}"
        return ""


def multiplications(compiled: CompiledModel, samples: Sequence[AnySample]) -> float:
    """Of one run of the self-test, but for attention."""
    plan = compiled.plan
    if plan.run:
        return float(len(samples) * plan.multiplications)
    answers = [sample.answer for sample in samples if isinstance(sample, Sample)]
    tokens = sum(len(sample.tokens) for sample in samples) + sum(map(len, answers))
    logits = sum(2 + len(answer) for answer in answers)  # screening saves some of them
    layers = sum(streamed_bytes(step) for step in plan.decode) * WEIGHTS_PER_BYTE
    return float(tokens * layers + logits * plan.vocab_size * plan.hidden_size)


def ask(command: Sequence[str], where: str) -> str:
    """Run a doctor; its last line, the verdict. Raises SelfTestError where that says "wrong: …"."""
    with best_tier():
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    lines = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
    said = lines[-1] if lines else f"exit code {result.returncode} without a word"
    if result.returncode != 0:
        raise SelfTestError(f"the bundle failed its self-test {where}, it was not written: {said}")
    return said
