"""Models of this folder, each made and compiled once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import edgebit

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.exact)


def synthetic(folder: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "benchmarks.synthetic", "2b4t", str(folder), *options]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of four layers and the whole vocabulary."""
    return synthetic(tmp_path_factory.mktemp("real") / "checkpoint", "--layers", "4")


@pytest.fixture(scope="session")
def screened(real: Path) -> Path:
    """Bundle of ``real`` with its lm_head in planes."""
    return edgebit.compile(real, output=real.parent / "exact", head="exact")


@pytest.fixture(scope="session")
def coded(real: Path) -> Path:
    """The same with codes beside the planes."""
    return edgebit.compile(real, output=real.parent / "s4", head="s4")


@pytest.fixture(scope="session")
def unscreened(real: Path) -> Path:
    """Bundle of ``real`` with bfloat16 rows."""
    return edgebit.compile(real, output=real.parent / "full", head="full")


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of two layers and a small vocabulary: all logits cost next to nothing."""
    folder = tmp_path_factory.mktemp("narrow")
    checkpoint = synthetic(folder / "checkpoint", "--layers", "2", "--vocab", "4096")
    return edgebit.compile(checkpoint, output=folder / "bundle", head="full")


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model with its lm_head in planes."""
    return edgebit.compile(None, output=tmp_path_factory.mktemp("builtin") / "bundle", head="exact")
