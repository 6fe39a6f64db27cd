"""The command line: what a person sees, and one line with exit code 1 for everything that cannot be done."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import edgebit
from edgebit import cli
from edgebit.bundle import write
from edgebit.bundle.writer import Untested
from edgebit.compiler.target import host_target
from edgebit.errors import EdgebitError
from tests.builders import write_checkpoint
from tests.bundle.builders import FakeModel, write_native
from tests.cli.results import Run, assert_one_line
from tests.float_products import PRODUCTS, write_products
from tests.runtime.toy_bundle import ANSWER, write_toy_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fake_bundle(tmp_path: Path) -> Path:
    native = write_native(tmp_path / "native")
    return write(FakeModel(), b"table", tmp_path / "fake-bundle", Untested(), native=native)


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in ("compile", "export", "run", "chat", "bench", "doctor", "inspect", "targets"):
        assert command in out
        assert run(command, "--help")[0] == 0


def test_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"edgebit {edgebit.__version__}\n")


def test_targets_mark_the_host(run: Run) -> None:
    code, out, _ = run("targets")
    assert code == 0
    assert f"{host_target().name} (host)" in out
    assert "arm64" in out
    assert "dotprod, neon" in out


@pytest.mark.parametrize(
    "command", [["compile", "--context", "0"], ["compile", "--colour"], ["run"], ["paint"]]
)
def test_a_wrong_usage_is_exit_2(command: list[str], run: Run) -> None:
    assert run(*command)[0] == 2


def test_an_unknown_target_is_one_line_with_the_known_ones(run: Run) -> None:
    assert_one_line(run("compile", "--target", "toaster"), "'toaster'", "arm64", "x86_64")


def test_a_missing_checkpoint_is_one_line(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert_one_line(run("compile", tmp_path / "nowhere", "-o", output), "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    result = run("compile", tmp_path / "nowhere", "-o", tmp_path)
    assert_one_line(result, "is not an edgebit bundle")
    assert "read model" not in result[2]


def test_a_damaged_checkpoint_leaves_nothing(run: Run, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", "packed")
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert_one_line(run("compile", checkpoint, "-o", tmp_path / "out"), "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_the_failed_stage_is_named(run: Run, tmp_path: Path) -> None:
    _, _, err = run("compile", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert "read model" in err
    assert "failed" in err


def test_edgebit_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBIT_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["edgebit", "compile", "--target", "toaster"])
    with pytest.raises(EdgebitError, match="toaster"):
        cli.main()


def test_an_unexpected_error_is_one_line_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> Path:
        raise ZeroDivisionError("of a\nkind")

    monkeypatch.setattr(edgebit, "compile", broken)
    assert_one_line(run("compile", "-o", tmp_path / "out"), "internal error", "ZeroDivisionError: of a kind")


def test_a_warning_of_edgebit_is_one_line_and_those_of_libraries_are_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgebit.model import CheckpointWarning

    def warning(*_: object) -> Path:
        warnings.warn("look at the scale", CheckpointWarning, stacklevel=2)
        warnings.warn("upgrade me", FutureWarning, stacklevel=2)
        return tmp_path

    monkeypatch.setattr(edgebit, "export", warning)
    code, _, err = run("export", "-o", tmp_path / "graph")
    assert code == 0
    assert "edgebit: warning: look at the scale\n" in err
    assert "upgrade me" not in err


def test_inspect_shows_layers_bytes_tiers_and_memory_of_a_bundle(run: Run, fake_bundle: Path) -> None:
    code, out, _ = run("inspect", fake_bundle)
    assert code == 0
    for text in (
        "layers",
        "tiers",
        "fake",
        "weights.bin",
        "4160",
        "edgebit_runtime/",
        "Memory needed",
        "1.0 MB",
    ):
        assert text in out


def test_inspect_prints_json(run: Run, fake_bundle: Path) -> None:
    code, out, err = run("inspect", fake_bundle, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["facts"]["tiers"] == "fake"
    assert report["facts"]["weights_layout"] == "U16"
    sizes = {part["name"]: part["bytes"] for part in report["parts"]}
    assert sizes["weights.bin"] == (fake_bundle / "weights.bin").stat().st_size
    assert sum(sizes.values()) == report["bytes"]


def test_run_takes_a_system_prompt_and_stop_strings(run: Run, toy_bundle: Path) -> None:
    code, out, err = run("run", toy_bundle, "hi", "--system", "x", "--stop", "z", "--stop", " o")
    assert (code, out) == (0, f"{ANSWER[:3]}\n")
    assert err.startswith("prompt 7 tokens at ")
    assert_one_line(run("run", toy_bundle, "hi", "--raw", "--system", "x"), "--raw", "--system")


def test_a_bundle_is_no_model_to_compile(run: Run, fake_bundle: Path, tmp_path: Path) -> None:
    result = run("compile", fake_bundle, "-o", tmp_path / "new")
    assert_one_line(result, str(fake_bundle), "makes it a bundle, which is compiled already")


def test_a_shell_completes_targets() -> None:
    asked = {"COMP_WORDS": "edgebit compile --target rpi", "COMP_CWORD": "3"}
    result = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['edgebit']; from edgebit.cli import main; main()"],
        cwd=ROOT,
        env={**os.environ, **asked, "_EDGEBIT_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["rpi-zero2w", "rpi3", "rpi4", "rpi5"]


def test_inspect_shows_the_parts_of_a_checkpoint(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("inspect", write_checkpoint(tmp_path / "checkpoint", "packed"))
    assert code == 0
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines() if line}
    assert rows["layers"][-1] == "2"
    assert rows["mlp.down_proj"][1] == "4"  # weight and scale in each of two layers
    assert int(rows["mlp.down_proj"][2]) == 2 * (128 * 192 // 4 + 4)
    assert rows["cache per token"][3] == str(
        2 * 2 * 2 * 32 * 2
    )  # layers, key and value, heads, head_dim, float16
    assert rows["activations"][1:] == ["int8", "per", "token"]
    assert rows["one scale for a"][-1] == "matrix"


def test_inspect_tells_float_activations_and_scales_of_groups(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("inspect", write_products(tmp_path / "m", PRODUCTS["llama, groups of 32"]))
    assert code == 0
    words = " ".join(out.split())
    assert "activations floats" in words
    assert "one scale for a group of 32 " in words


def test_inspect_of_a_graph_of_tensors_shows_what_it_takes_and_gives(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    edgebit.export_torch(torch.nn.Linear(8, 3), torch.zeros(1, 8), file, ["samples"], ["scores"])
    code, out, _ = run("inspect", file)
    assert code == 0
    assert "samples [1, 8]" in out and "scores [1, 3]" in out
    assert "run" in out.split() and "cache" not in out


def test_inspect_of_a_changed_manifest_is_one_line(run: Run, fake_bundle: Path) -> None:
    path = fake_bundle / "manifest.json"
    path.write_text(path.read_text().replace('"layers": 2', '"layers": 3'))
    assert_one_line(run("inspect", fake_bundle), "manifest.json", "was changed")


@pytest.mark.parametrize("command", [["run", "{}", "hello"], ["bench", "{}"], ["inspect", "{}"]])
def test_a_bundle_that_is_not_there_is_one_line(command: list[str], run: Run, tmp_path: Path) -> None:
    assert_one_line(run(*(word.format(tmp_path / "nowhere") for word in command)), "nowhere")


def test_chat_takes_the_options_of_chat_py(run: Run, tmp_path: Path) -> None:
    code, out, err = run("chat", tmp_path / "nowhere", "--prompt", "hello")
    assert (code, out) == (1, "")
    assert err.startswith("edgebit: ")
    assert "nowhere" in err


def test_bench_prints_tables_or_json(run: Run, toy_bundle: Path) -> None:
    code, out, err = run("bench", toy_bundle, "--repeat", "1", "--prefill", "5", "--decode", "3", "--profile")
    assert (code, err) == (0, "")
    for text in ("prefill, 5 tokens", "decode, 3 tokens", "roofline", "profile of decode", "lm_head"):
        assert text in out
    code, out, err = run("bench", toy_bundle, "--repeat", "1", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["prefill"]["tokens_per_second"] > 0


def test_bench_refuses_in_one_line(run: Run, toy_bundle: Path, fake_bundle: Path) -> None:
    assert_one_line(run("bench", toy_bundle, "--prefill", "40", "--decode", "9"), "the context holds 48")
    assert_one_line(run("bench", toy_bundle, "--threads", "0"), "--threads 0")
    assert_one_line(run("bench", fake_bundle), "manifest.json", "compile it again")


def test_a_wheel_stands_beside_the_bundle(
    run: Run, fake_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgebit, "compile", lambda *_: fake_bundle)
    code, out, _ = run("compile", "--wheel", "-o", fake_bundle)
    assert code == 0
    wheel = Path(out.splitlines()[-1].removeprefix("install it: pip install "))
    assert wheel.is_file() and wheel.parent == fake_bundle.parent
    assert wheel.name.startswith("tiny-")


def test_doctor_prints_a_verdict_or_json(run: Run, toy_bundle: Path, fake_bundle: Path) -> None:
    code, out, _ = run("doctor", toy_bundle)
    assert code == 0
    assert out.splitlines()[-1].startswith("right: ")
    code, out, _ = run("doctor", toy_bundle, "--json", "--tier", "baseline")
    assert (code, json.loads(out)["right"]) == (0, True)
    code, out, _ = run("doctor", fake_bundle)
    assert code == 1
    assert out.splitlines()[-1].startswith("wrong: ")


def test_a_bundle_with_a_changed_file_does_not_run(run: Run, fake_bundle: Path) -> None:
    path = fake_bundle / "weights.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert_one_line(run("run", fake_bundle, "hello"), "weights.bin")


def test_help_and_run_import_no_compiler() -> None:
    check = (
        "import sys, edgebit, edgebit.cli, edgebit.bundle, edgebit.runtime\n"
        "heavy = {'tvm', 'onnx', 'onnx_ir', 'onnxscript', 'numpy', 'torch', 'transformers', 'tokenizers'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""
    assert result.returncode == 0


def test_commands_do_without_torch(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TVM would import it; afterwards it can be imported again."""
    found = []

    def looking(*_: object) -> Path:
        found.append(importlib.util.find_spec("torch"))
        return tmp_path

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(edgebit, "export", looking)
    assert run("export", "-o", tmp_path / "graph")[0] == 0
    assert found == [None]
    assert importlib.util.find_spec("torch") is not None


INTERRUPTED = """
import sys, time
from pathlib import Path
import edgebit
from edgebit.errors import BundleError
from edgebit.folders import replacing
from edgebit.cli import main

def half(*_):
    with replacing(Path("bundle"), BundleError):
        print("writing", flush=True)
        time.sleep(60)

edgebit.compile = half
sys.argv = ["edgebit", "compile"]
main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_half_written(number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a test run in the background ignores some
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_a_program_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "edgebit", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"edgebit {edgebit.__version__}\n"
