"""examples/classifiers: trained shortly, compiled, the same answers here and on arm64."""

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

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "classifiers"

# Prints the bits of the scores of the inputs in a file, one after the other.
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
data, size = open(sys.argv[2], "rb").read(), int(sys.argv[3])
with load(sys.argv[1], threads=2) as model:
    print("".join(model.run(data[i : i + size])["scores"].tobytes().hex() for i in range(0, len(data), size)))
"""


def scores_on_arm64(arm_python: Path, file: Path, inputs: torch.Tensor, folder: Path) -> bytes:
    """The bits of what the bundle of ``file`` makes of float32 inputs [n][...] as an emulated Cortex-A72."""
    bundle = edgebit.compile(file, "arm64", folder / "arm64")
    data = inputs.numpy().astype(np.float32)
    (folder / "inputs").write_bytes(data.tobytes())
    command = [str(arm_python), "-c", PROGRAM, str(bundle), str(folder / "inputs"), str(data[0].nbytes)]
    environment = {**os.environ, "EB_CPU": "cortex-a72"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return bytes.fromhex(done.stdout)


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.arm
def test_digits_are_read_on_arm64_as_in_torch(
    tmp_path: Path, arm_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    digits, classifier = example("digits", monkeypatch), example("classifier", monkeypatch)
    pixels, labels, held_out, expected = digits.images()
    model = digits.trained(pixels, labels, epochs=3)
    with torch.no_grad():
        scores = model(held_out).numpy()
    assert (scores.argmax(1) == expected.numpy()).mean() > 0.9
    file = classifier.export(model, held_out[:1], tmp_path / "digits.onnx", "image")
    here = edgebit.compile(file, "host", tmp_path / "host")
    compiled = classifier.ask(here, held_out)
    assert np.mean(compiled.argmax(1) == scores.argmax(1)) > 0.99  # a code may tip where two scores are close
    assert np.median(np.abs(compiled - scores).max(1)) < 1e-4
    assert scores_on_arm64(arm_python, file, held_out[:20], tmp_path) == compiled[:20].tobytes()


@pytest.mark.slow
@pytest.mark.arm
def test_keywords_are_spotted_on_arm64_as_in_torch(
    tmp_path: Path, arm_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    keywords, classifier = example("keywords", monkeypatch), example("classifier", monkeypatch)
    features = keywords.LogMel()
    samples, labels = keywords.data(450, seed=1)
    model = torch.nn.Sequential(features, keywords.trained(features(samples), labels, epochs=8)).eval()
    held_out, expected = keywords.data(45, seed=2)
    with torch.no_grad():
        scores = model(held_out).numpy()
    assert (scores.argmax(1) == expected.numpy()).mean() > 0.5
    file = classifier.export(model, held_out[:1], tmp_path / "keywords.onnx", "samples")
    compiled = classifier.ask(edgebit.compile(file, "host", tmp_path / "host"), held_out)
    assert np.mean(compiled.argmax(1) == scores.argmax(1)) > 0.95
    assert scores_on_arm64(arm_python, file, held_out[:4], tmp_path) == compiled[:4].tobytes()


def test_synthesised_words_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    speech = example("speech", monkeypatch)
    first, again, other = speech.clips(9, 5)[0], speech.clips(9, 5)[0], speech.clips(9, 6)[0]
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (9, speech.SAMPLES) and np.abs(first).max() <= 1
