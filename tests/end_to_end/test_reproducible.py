"""The same model gives the same bytes, from the checkpoint or from its exported graph."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import edgebit
from edgebit.bundle import link, parse_manifest
from edgebit.compiler import kernels
from edgebit.emulation import find_emulator
from edgebit.self_test import UntestedWarning
from tests.builders import write_checkpoint


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_compiling_twice_and_compiling_the_export_give_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels and the runtime are compiled twice: the second time nothing of the first is at hand."""
    checkpoint = write_checkpoint(tmp_path / "model", "packed")
    first = files(edgebit.compile(checkpoint, "host", tmp_path / "first"))
    monkeypatch.setenv("EDGEBIT_NO_CACHE", "1")
    kernels._build.cache_clear()
    link._SOURCES.clear()
    second = files(edgebit.compile(checkpoint, "host", tmp_path / "elsewhere" / "second"))
    edgebit.export(checkpoint, tmp_path / "graph" / "model.onnx")
    third = files(edgebit.compile(tmp_path / "graph" / "model.onnx", "host", tmp_path / "third"))
    assert first.keys() == second.keys() == third.keys()
    for name, data in first.items():
        assert data == second[name], name
        assert data == third[name], name


def test_weights_and_self_test_are_the_same_for_every_target(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model", "llama")
    with warnings.catch_warnings():
        if find_emulator("arm64") or os.environ.get("EDGEBIT_REQUIRE_ARM") == "1":
            warnings.simplefilter("error", UntestedWarning)  # it was asked on emulated processors
        bundles = [edgebit.compile(checkpoint, target, tmp_path / target) for target in ("x86_64", "arm64")]
    assert len({(bundle / "weights.bin").read_bytes() for bundle in bundles}) == 1
    samples = [parse_manifest((bundle / "manifest.json").read_text()).self_test for bundle in bundles]
    assert samples[0] == samples[1]
    for bundle in bundles:
        assert (bundle / "libmodel.so").stat().st_size < 400_000
