"""Shared fixtures. With EDGEBIT_REQUIRE_ARM=1 (CI) a missing ARM userland is made, not skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def userland(architecture: str, suite: str = "default") -> Path:
    """The `py-ARCH` wrapper: Python of a Debian userland under qemu, CPU chosen by EB_CPU."""
    cache = Path(os.environ.get("EDGEBIT_ARM_CACHE", ROOT / ".cache" / "arm"))
    wrapper = cache / f"py-{architecture if suite == 'default' else f'{architecture}-{suite}'}"
    if wrapper.exists():
        return wrapper
    if os.environ.get("EDGEBIT_REQUIRE_ARM") == "1":
        script = str(ROOT / "scripts" / "userland.sh")
        command = [script, architecture, suite, str(cache)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0 and suite != "default":
            pytest.skip(f"the mirror of this machine gives no Debian {suite}")
        assert made.returncode == 0, f"scripts/userland.sh failed: {made.stderr}"
        return wrapper
    pytest.skip(f"no {architecture} userland; run scripts/userland.sh {architecture} {suite}")


@pytest.fixture(scope="session")
def arm_python() -> Path:
    """Python of an arm64 userland."""
    return userland("arm64")


@pytest.fixture(scope="session")
def armhf_python() -> Path:
    """Python of a 32-bit ARM userland."""
    return userland("armhf")
