"""examples/digits and examples/keywords: trained shortly, compiled, the same answers here and on arm64."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import edgebit

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# Prints the bits of the scores of images of 64 floats, one after the other.
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
data = bytes.fromhex(sys.argv[2])
with load(sys.argv[1], threads=2) as model:
    print("".join(model.run(data[i : i + 256])["scores"].tobytes().hex() for i in range(0, len(data), 256)))
"""


def example(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES / folder))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.arm
def test_digits_are_read_on_arm64_as_in_torch(
    tmp_path: Path, arm_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    digits = example("digits", "digits", monkeypatch)
    pixels, labels, held_out, expected = digits.images()
    model = digits.train(pixels, labels, epochs=3)
    with torch.no_grad():
        scores = model(held_out).numpy()
    assert (scores.argmax(1) == expected.numpy()).mean() > 0.9
    file = digits.export(model, tmp_path / "digits.onnx")
    here = edgebit.compile(file, "host", tmp_path / "host")
    compiled = digits.ask(here, held_out)
    assert np.mean(compiled.argmax(1) == scores.argmax(1)) > 0.99  # a code may tip where two scores are close
    assert np.median(np.abs(compiled - scores).max(1)) < 1e-4
    there = edgebit.compile(file, "arm64", tmp_path / "arm64")
    command = [str(arm_python), "-c", PROGRAM, str(there), held_out[:20].numpy().tobytes().hex()]
    environment = {**os.environ, "EB_CPU": "cortex-a72"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout) == compiled[:20].tobytes()


def test_keywords_are_spotted_from_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    keywords = example("keywords", "keywords", monkeypatch)
    features = keywords.LogMel()
    samples, labels = keywords.data(450, seed=1)
    model = torch.nn.Sequential(features, keywords.train(features(samples), labels, epochs=8)).eval()
    held_out, expected = keywords.data(45, seed=2)
    with torch.no_grad():
        scores = model(held_out).numpy()
    assert (scores.argmax(1) == expected.numpy()).mean() > 0.5
    file = edgebit.export_torch(
        model, torch.zeros(1, keywords.SAMPLES), tmp_path / "keywords.onnx", ["samples"], ["scores"]
    )
    compiled = keywords.ask(edgebit.compile(file, "host", tmp_path / "host"), held_out)
    assert np.mean(compiled.argmax(1) == scores.argmax(1)) > 0.95


def test_synthesised_words_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    speech = example("keywords", "speech", monkeypatch)
    first, again, other = speech.clips(9, 5)[0], speech.clips(9, 5)[0], speech.clips(9, 6)[0]
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (9, speech.SAMPLES) and np.abs(first).max() <= 1
