"""Graphs of tensors as bundles: values, bits on every tier, interfaces, self-test, refusals."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

import edgebit
from edgebit.bundle import parse_manifest
from edgebit.errors import UsageError
from edgebit.host_library import fits_here
from edgebit.runtime import Model, RuntimeModelError
from edgebit.runtime.bench import Options, bench
from edgebit.runtime.bench_conditions import available_cpus
from edgebit.runtime.doctor import examine
from edgebit.runtime.table import text_of
from edgebit.schedules.tier import TIERS, tiers_of
from tests.end_to_end.tensor_runs import bits
from tests.tensor_graphs import everything, mlp, model_of

Floats = npt.NDArray[np.float32]
IMAGES: Floats = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype(np.float32)
ROWS: Floats = np.random.default_rng(4).standard_normal((3, 20)).astype(np.float32)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `everything`, with the graph beside it."""
    folder = tmp_path_factory.mktemp("tensors")
    onnx.save(everything(), folder / "classifier.onnx")
    return edgebit.compile(folder / "classifier.onnx", "host", folder / "bundle")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlp")
    onnx.save(mlp(), folder / "mlp.onnx")
    return edgebit.compile(folder / "mlp.onnx", "host", folder / "bundle")


def reference(bundle: Path, **inputs: Floats) -> list[npt.NDArray[np.generic]]:
    (file,) = bundle.parent.glob("*.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, inputs)]


def test_outputs_are_those_of_onnxruntime(classifier: Path) -> None:
    y, best = reference(classifier, x=IMAGES)
    with edgebit.load(classifier) as model:
        outputs = model.run({"x": IMAGES})
    assert np.abs(np.asarray(outputs["y"]) - y).max() < 1e-5
    assert outputs["best"].tolist() == best.tolist()


def test_a_ternary_model_has_the_bits_of_onnxruntime(tiny: Path) -> None:
    """Integer sums are exact, and a scale is one product and one division everywhere."""
    (y,) = reference(tiny, x=ROWS)
    with edgebit.load(tiny) as model:
        for _ in range(2):  # nothing of the first run is left in the second
            assert np.asarray(model.run(ROWS)["y"]).tobytes() == y.tobytes()


def test_bits_are_the_same_on_every_tier_and_with_every_number_of_threads(classifier: Path) -> None:
    tiers = [tier.name for tier in tiers_of("x86_64") if fits_here(TIERS[tier.name])]
    runs = [(tier, threads) for tier in tiers for threads in (1, 3)]
    said = [
        bits(sys.executable, classifier, {"x": IMAGES}, threads, EDGEBIT_TIER=tier) for tier, threads in runs
    ]
    assert [tier for tier, _ in said] == [tier for tier, _ in runs]
    assert len({values for _, values in said}) == 1


def test_indices_are_counted_from_the_end_and_held_inside_the_axis(tmp_path: Path) -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    indices = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.INT64, [5])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [5, 3])
    node = onnx.helper.make_node("Gather", ["table", "rows"], ["y"])
    onnx.save(model_of([node], {"table": table}, [indices], [result]), tmp_path / "rows.onnx")
    bundle = edgebit.compile(tmp_path / "rows.onnx", "host", tmp_path / "bundle")
    with edgebit.load(bundle) as model:
        found = np.asarray(model.run([0, 3, -1, -4, 1 << 40])["y"])
    assert np.array_equal(found, table[[0, 3, 3, 0, 3]])


@pytest.mark.parametrize(
    "kind", ["numpy", "array", "bytes", "flat list", "nested list", "tuple of a mapping"]
)
def test_inputs_are_what_python_has(tiny: Path, kind: str) -> None:
    given = {
        "numpy": ROWS,
        "array": array("f", ROWS.ravel().tolist()),
        "bytes": ROWS.tobytes(),
        "flat list": ROWS.ravel().tolist(),
        "nested list": ROWS.tolist(),
        "tuple of a mapping": {"x": tuple(map(tuple, ROWS.tolist()))},
    }[kind]
    with edgebit.load(tiny) as model:
        assert model.run(given)["y"].tobytes() == model.run(ROWS)["y"].tobytes()
        assert np.shape(model.run(given)["y"].tolist()) == (3, 10)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"z": ROWS}, r"no input 'z': the model has x \(float32 \[3, 20\]\)"),
        ({}, "an input is missing"),
        (ROWS.astype(np.float64), "input x has elements of format 'd', 8 bytes each: expected float32"),
        (ROWS.T.copy(), r"input x has shape \[20, 3\]: expected float32 \[3, 20\], 240 bytes"),
        (ROWS.tobytes()[:-1], "input x has 239 bytes"),
        ([[1.0, 2.0]], r"input x has shape \[1, 2\]: expected float32 \[3, 20\]"),
        ([["a"] * 20] * 3, "input x holds what is no float32"),
        ("text", r"input x is of type str: expected float32 \[3, 20\] as numbers in lists"),
        (None, "input x is of type NoneType"),
        (ROWS.astype(">f4"), "input x has elements of format '>f'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(tiny: Path, given: object, complaint: str) -> None:
    with edgebit.load(tiny) as model, pytest.raises(RuntimeModelError, match=complaint) as caught:
        model.run(given)
    assert "\n" not in str(caught.value)


def test_models_for_texts_and_for_tensors_refuse_each_other(tiny: Path) -> None:
    with edgebit.load(tiny) as model:
        assert model.info.task == "run"
        for call in (lambda: list(model.generate("hello")), lambda: model.embed("hello")):
            with pytest.raises(RuntimeModelError, match=r"computes tensors from tensors and .*: call run"):
                call()
        with pytest.raises(RuntimeModelError, match="this model has no tokenizer"):
            model.detokenize([1])
        refuse_natively(model)


def refuse_natively(model: Model) -> None:
    """The C functions that append tokens, and a null pointer for an input."""
    engine = model._engine
    library, session = engine._library, engine._open()
    ids = (ctypes.c_int32 * 1)(0)
    assert library.eb_evaluate(session, ids, 1) == -6
    assert b"computes tensors" in library.eb_session_error(session)
    assert library.eb_run(session, None, None) == -1
    assert b"input x is a null pointer" in library.eb_session_error(session)


def test_doctor_knows_its_outputs_and_finds_others(tiny: Path, tmp_path: Path) -> None:
    report = examine(tiny)
    assert not report.faults and report.runs
    program = subprocess.run(
        [str(tiny / "edgebit-run"), "--doctor"], capture_output=True, text=True, check=True
    )
    assert program.stdout.splitlines()[-1].startswith("right: ")


def test_edgebit_run_filters_bytes(tiny: Path) -> None:
    with edgebit.load(tiny) as model:
        expected = model.run(ROWS)["y"].tobytes()
    program = [str(tiny / "edgebit-run")]
    assert subprocess.run(program, input=ROWS.tobytes(), capture_output=True, check=True).stdout == expected
    for data, complaint in (
        (ROWS.tobytes()[:-4], "ends within input x"),
        (bytes(244), "more than the inputs"),
    ):
        done = subprocess.run(program, input=data, capture_output=True, check=False)
        assert done.returncode == 1 and complaint in done.stderr.decode()


def test_bench_times_runs_and_every_step(tiny: Path) -> None:
    options = Options(threads=2, repeat=3, profile=True, sweep=True)
    report = bench(tiny, options, lambda text: None)
    found = json.loads(json.dumps(report.as_json()))
    run, profile = found["run"], found["profile"]["run"]
    assert 0 < run["ms"] == pytest.approx(1e3 / run["calls_per_second"]) and run["ms_std"] >= 0
    assert profile["runs"] == run["calls_per_repetition"] >= 1
    labels = [step["label"] for step in profile["steps"]]
    assert len(labels) == len(parse_manifest((tiny / "manifest.json").read_text(), "tiny").plan["steps"])  # type: ignore[arg-type]
    assert all(step["calls"] == profile["runs"] for step in profile["steps"])
    assert sum(step["seconds"] for step in profile["steps"]) + profile["outside"] == pytest.approx(
        profile["seconds"]
    )
    assert [each["threads"] for each in found["sweep"]] == list(range(1, available_cpus() + 1))
    assert found["conditions"]["threads"] == 2
    text = "\n".join(text_of(table) for table in report.tables())
    assert "calls/s" in text and "profile of run: " in text and "ternary_gemm_store" in text


def test_bench_runs_on_the_device_and_refuses_what_says_nothing(tiny: Path) -> None:
    """In Python and in C."""
    for program in (
        [sys.executable, "-S", "-E", str(tiny / "bench.py")],
        [str(tiny / "edgebit-run"), "--bench"],
    ):
        said = subprocess.run([*program, "--repeat", "2"], capture_output=True, text=True, check=True)
        assert "calls/s" in said.stdout and not said.stderr.replace("\r", "").strip()
        for options in (["--decode", "3"], ["--prefill", "3"]):
            refused = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
            assert refused.returncode == 1 and f"there is nothing to {options[0][2:]}" in refused.stderr


def test_options_of_language_models_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="context, head and kv are of language models"):
        edgebit.compile(tiny.parent / "mlp.onnx", "host", tmp_path / "bundle", context=16)
