"""The self-test of a bundle in the making: what it must answer is recorded, and then it is asked.

Expected values come from the same weights.bin and plan: by the bundle's own library where this machine loads
it, otherwise by a library with this machine's kernels (host_library.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebit.bundle.link import LIBRARY
from edgebit.bundle.samples import record_samples
from edgebit.compiler import CompiledModel
from edgebit.errors import SelfTestError
from edgebit.host_library import best_tier, fits_here, runs_here, write_host_library
from edgebit.progress import Progress
from edgebit.runtime.self_test import Sample
from edgebit.schedules.tier import TIERS


@dataclass(frozen=True)
class SelfTest:
    """Records and runs the self-test of one model (a `Tester` of edgebit.bundle.writer)."""

    compiled: CompiledModel
    progress: Progress

    def record(self, folder: Path, weights_id: bytes) -> list[Sample]:
        """Samples of the model whose weights, library and tokenizer are in ``folder``. Raises BundleError
        where it gives no answers, CompileError, LinkError.
        """
        with best_tier(), tempfile.TemporaryDirectory(prefix="edgebit-host-") as work:
            if runs_here(self.compiled.target):
                # A copy: a library stays loaded as long as this process lives, and bundles are replaced.
                library = Path(shutil.copy(folder / LIBRARY, work))
            else:
                library = write_host_library(self.compiled, weights_id, Path(work))
            return record_samples(folder, library)

    def run(self, bundle: Path) -> None:
        """Run the self-test of a complete bundle. Raises SelfTestError."""
        if runs_here(self.compiled.target):
            self.progress.stage("check")
            run_doctor(bundle, self._tiers_to_run())

    def _tiers_to_run(self) -> list[str]:
        return [name for name in self.compiled.objects if fits_here(TIERS[name])][:1]


def run_doctor(bundle: Path, tiers: Sequence[str]) -> None:
    """Run doctor.py of ``bundle`` in a process of its own, as a device would. Raises SelfTestError."""
    options = [word for name in tiers for word in ("--tier", name)]
    command = [sys.executable, str(bundle / "doctor.py"), "--json", *options]
    with best_tier():
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    try:
        verdict = json.loads(result.stdout)["verdict"]
    except (ValueError, KeyError):
        verdict = (result.stdout + result.stderr).strip() or f"exit code {result.returncode}"
    raise SelfTestError(f"the self-test of the bundle failed, nothing was written: {verdict}")
