"""Shared fixtures. With EDGEBIT_REQUIRE_ARM=1 (CI) a missing ARM userland is made, not skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def arm_python() -> Path:
    """The `py-arm64` wrapper: Python of an arm64 Debian userland under qemu, CPU chosen by EB_CPU."""
    cache = Path(os.environ.get("EDGEBIT_ARM_CACHE", ROOT / ".cache" / "arm"))
    wrapper = cache / "py-arm64"
    if wrapper.exists():
        return wrapper
    if os.environ.get("EDGEBIT_REQUIRE_ARM") == "1":
        made = subprocess.run(
            [str(ROOT / "scripts" / "arm_userland.sh"), str(cache)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, f"scripts/arm_userland.sh failed: {made.stderr}"
        return wrapper
    pytest.skip("no ARM userland; run scripts/arm_userland.sh")
