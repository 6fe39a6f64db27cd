"""Every kind of bad input: one line that names it, exit code 1, no new folder, the old bundle untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

import edgebit
from edgebit.bundle import write
from edgebit.bundle.writer import Untested
from edgebit.compiler.target import known_targets
from tests.builders import change_json, change_tensors, write_checkpoint
from tests.bundle.builders import FakeModel, write_native
from tests.cli.results import Run, assert_one_line

WEIGHT = "model.layers.1.mlp.down_proj.weight"


def truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def config(**changes: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **changes)


def tensor(name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        value = change(load_file(folder / "model.safetensors")[name])
        change_tensors(folder, **{name.replace(".", "__"): value})

    return damage


def code_three(packed: np.ndarray) -> np.ndarray:
    packed[5, 7] |= 0b11
    return packed


DAMAGE: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "missing file": (lambda folder: (folder / "model.safetensors").unlink(), ["safetensors"]),
    "truncated file": (truncate, ["model.safetensors"]),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer.json"]),
    "wrong dtype": (tensor(WEIGHT, lambda w: w.astype(np.int32)), [WEIGHT]),
    "wrong shape": (tensor(WEIGHT, lambda w: w[:-1]), [WEIGHT]),
    "missing tensor": (tensor(WEIGHT, lambda w: None), [WEIGHT]),
    "code 3": (tensor(WEIGHT, code_three), [WEIGHT, "3"]),
    "NaN scale": (tensor(f"{WEIGHT}_scale", lambda s: s * np.float32("nan")), [f"{WEIGHT}_scale", "nan"]),
    "architecture": (config(architectures=["MambaForCausalLM"], model_type="mamba"), ["amba"]),
    "quant_method": (config(quantization_config={"quant_method": "gptq"}), ["gptq"]),
    "activation": (config(hidden_act="gelu"), ["gelu"]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_checkpoint_is_one_line_and_changes_nothing(kind: str, run: Run, tmp_path: Path) -> None:
    damage, words = DAMAGE[kind]
    checkpoint = write_checkpoint(tmp_path / "model", "packed")
    damage(checkpoint)
    old = write(
        FakeModel(),
        b"table",
        tmp_path / "old",
        Untested(),
        native=write_native(tmp_path / "runtime" / "native"),
    )
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    for output in (tmp_path / "new", old):
        assert_one_line(run("compile", checkpoint, "--target", "host", "-o", output), *words)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "old", "runtime"]


def test_a_file_that_is_no_model_is_told_every_kind_that_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# a model")
    for command in ("compile", "export", "inspect"):
        arguments = [tmp_path / "README.md", *(["-o", tmp_path / "out"] if command != "inspect" else [])]
        assert_one_line(run(command, *arguments), "README.md", "folder", ".gguf", ".onnx", "repo id")
    assert not (tmp_path / "out").exists()


def test_an_unknown_operator_of_a_graph_is_named_with_its_node(run: Run, tmp_path: Path) -> None:
    graph = edgebit.export(write_checkpoint(tmp_path / "model", "packed"), tmp_path / "graph" / "model.onnx")
    model = onnx.load(graph, load_external_data=False)
    node = next(node for node in model.graph.node if node.name == "model.layers.0.mlp.relu")
    node.op_type, node.domain = "Sparkle", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    graph.write_bytes(model.SerializeToString())
    result = run("compile", graph, "--target", "host", "-o", tmp_path / "bundle")
    assert_one_line(result, "model.layers.0.mlp.relu", "com.example::Sparkle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_for_another_cpu_is_refused_with_the_way_out(run: Run, tmp_path: Path) -> None:
    host = edgebit.compiler.target.host_target()
    other = next(target for target in known_targets().values() if target.architecture != host.architecture)
    bundle = edgebit.compile(write_checkpoint(tmp_path / "model", "packed"), other.name, tmp_path / "bundle")
    assert_one_line(run("run", bundle, "hello"), other.architecture, "--target")


def test_a_bundle_with_one_byte_changed_is_refused_with_the_file(run: Run, tmp_path: Path) -> None:
    bundle = edgebit.compile(write_checkpoint(tmp_path / "model", "packed"), "host", tmp_path / "bundle")
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        original, _ = path.read_bytes(), path.write_bytes(data)
        assert_one_line(run("run", bundle, "hello", "--max-tokens", "1"), path.name)
        path.write_bytes(original)
    code, _, _ = run("run", bundle, "hello", "--max-tokens", "1")
    assert code == 0
