"""model.onnx, its external data, and the files beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgebit.graph import build, save
from edgebit.model import open_checkpoint
from tests.builders import Shape, write_checkpoint
from tests.malformed.damage import Case, Cases, change_bytes

GRAPH = "model.onnx"
DATA = "model.onnx.data"
WEIGHT = "model.layers.0.mlp.down_proj.weight"
SCALE = f"{WEIGHT}_scale"
NORM = "model.layers.0.input_layernorm.weight"
TABLE = "model.embed_tokens.weight"
Model = onnx.ModelProto


def write(folder: Path) -> None:
    checkpoint = write_checkpoint(
        folder.with_name("checkpoint"),
        "packed",
        Shape(hidden_size=64, intermediate_size=96, layers=1, vocab_size=320),
    )
    save(build(open_checkpoint(checkpoint)), folder)


def changed(change: Callable[[Model], object]) -> Case:
    def damage(folder: Path) -> None:
        model = onnx.load(folder / GRAPH, load_external_data=False)
        change(model)
        (folder / GRAPH).write_bytes(model.SerializeToString())

    return damage


def initializer(model: Model, name: str) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def node_of(model: Model, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def other_place(name: str, **entries: object) -> Case:
    """Other entries in the reference of a tensor to the data file."""

    def change(model: Model) -> None:
        found = {entry.key: entry.value for entry in initializer(model, name).external_data}
        found |= {key: str(value) for key, value in entries.items() if value is not None}
        for key in [key for key, value in entries.items() if value is None]:
            found.pop(key, None)
        del initializer(model, name).external_data[:]
        for key, value in found.items():
            initializer(model, name).external_data.add(key=key, value=value)

    return changed(change)


def other_tensor(name: str, array: np.ndarray) -> Case:
    """Another tensor inside the file in the place of one."""
    return changed(lambda model: initializer(model, name).CopyFrom(numpy_helper.from_array(array, name)))


def _shape(name: str, *dims: int) -> Case:
    def change(model: Model) -> None:
        tensor = initializer(model, name)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return changed(change)


def changed_attribute(node: str, name: str, **values: object) -> Case:
    def change(model: Model) -> None:
        attribute = next(a for a in node_of(model, node).attribute if a.name == name)
        for key, value in values.items():
            setattr(attribute, key, value)

    return changed(change)


def other_input(node: str, index: int, name: str) -> Case:
    return changed(lambda model: node_of(model, node).input.__setitem__(index, name))


def _drop_inputs(node: str, left: int) -> Case:
    return changed(lambda model: node_of(model, node).input.__delitem__(slice(left, None)))


def _property(key: str, value: str | None) -> Case:
    def change(model: Model) -> None:
        kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != key}
        helper.set_model_props(model, kept | ({} if value is None else {key: value}))

    return changed(change)


def _truncated() -> dict[str, Case]:
    shares = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    return {
        f"{name}: the first {share:.1%}": change_bytes(
            name, lambda content, share=share: content[: int(len(content) * share)]
        )
        for name in (GRAPH, DATA)
        for share in shares
    }


def _deep_graphs(model: Model) -> None:
    """A graph in an attribute of a node in a graph in …"""
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(20):
        node = helper.make_node("If", [], ["y"])
        node.attribute.append(helper.make_attribute("then_branch", graph))
        graph = helper.make_graph([node], "inner", [], [])
    model.graph.node.extend(graph.node)


def _functions_in_a_circle(model: Model) -> None:
    for name, other in (("A", "B"), ("B", "A")):
        node = helper.make_node(other, ["x"], ["y"], domain="circle")
        function = helper.make_function(
            "circle", name, ["x"], ["y"], [node], [helper.make_opsetid("circle", 1)]
        )
        model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("circle", 1))
    relu = node_of(model, "model.layers.0.mlp.relu")
    relu.op_type, relu.domain = "A", "circle"


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    length, out = len(content), bytearray([number << 3 | 2])
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    return bytes(out) + bytes([length]) + content


def _append(extra: bytes) -> Case:
    return change_bytes(GRAPH, lambda content: content + extra)


def _folder_instead(folder: Path) -> None:
    (folder / DATA).unlink()
    (folder / DATA).mkdir()


_GRAPH_FIELD, _NODE_FIELD, _INITIALIZER_FIELD, _ATTRIBUTE_FIELD = 7, 1, 5, 5


def _many_attributes() -> bytes:
    return _field(_GRAPH_FIELD, _field(_NODE_FIELD, b"\x2a\0" * 4_000_000))


def _cases_of_bytes() -> dict[str, Case]:
    return {
        **_truncated(),
        "graph of zeros": change_bytes(GRAPH, lambda content: bytes(len(content))),
        "graph of random bytes": change_bytes(GRAPH, lambda c: np.random.default_rng(1).bytes(len(c))),
        "graph of text": change_bytes(GRAPH, lambda _: b"{}"),
        "a length of 2^63": _append(b"\x3a" + b"\xff" * 8 + b"\x7f"),
        "a number without an end": _append(b"\x3a" + b"\xff" * 100),
        "four million nodes": _append(_field(_GRAPH_FIELD, b"\x0a\0" * 4_000_000)),
        "four million tensors": _append(_field(_GRAPH_FIELD, b"\x2a\0" * 4_000_000)),
        "four million attributes": _append(_many_attributes()),
        "four million functions": _append(b"\xca\x01\0" * 4_000_000),
        "four million properties": _append(b"\x72\0" * 4_000_000),
        "data missing": lambda folder: (folder / DATA).unlink(),
        "data is a folder": _folder_instead,
        "tokenizer missing": lambda folder: (folder / "tokenizer.json").unlink(),
    }


def _cases_of_tensors() -> dict[str, Case]:
    codes = np.full((64, 24), 0x55, np.uint8)
    damaged = codes.copy()
    damaged[3, 4] = 0xFF
    return {
        "offset past the end": other_place(WEIGHT, offset=10**12),
        "offset negative": other_place(WEIGHT, offset=-4096),
        "offset text": other_place(WEIGHT, offset="soon"),
        "offset of many digits": other_place(WEIGHT, offset="9" * 5000),
        "length too small": other_place(WEIGHT, length=1),
        "length huge": other_place(WEIGHT, length=2**62),
        "length negative": other_place(WEIGHT, length=-1),
        "location outside": other_place(WEIGHT, location="../checkpoint/model.safetensors"),
        "location absolute": other_place(WEIGHT, location="/etc/hostname"),
        "location empty": other_place(WEIGHT, location=""),
        "location this folder": other_place(WEIGHT, location="."),
        "location missing": other_place(WEIGHT, location=None),
        "location unknown": other_place(WEIGHT, location="other.data"),
        "location with a NUL": other_place(WEIGHT, location="a\0b"),
        "location of a long name": other_place(WEIGHT, location="a" * 5000),
        "shape that overflows": _shape(WEIGHT, 2**32, 2**32),
        "shape negative": _shape(WEIGHT, -64, 24),
        "shape huge": _shape(WEIGHT, 2**40, 24),
        "shape of nothing": _shape(WEIGHT),
        "shape with zero": _shape(WEIGHT, 0, 24),
        "shape transposed": _shape(WEIGHT, 24, 64),
        "shape flat": _shape(WEIGHT, 64 * 24),
        "shape of many dimensions": _shape(WEIGHT, *([1] * 100), 64, 24),
        "table narrower": _shape(TABLE, 640, 32),
        "table flat": _shape(TABLE, 320 * 64),
        "type unknown": changed(lambda model: setattr(initializer(model, WEIGHT), "data_type", 99)),
        "type missing": changed(lambda model: setattr(initializer(model, WEIGHT), "data_type", 0)),
        "type of texts": changed(lambda model: setattr(initializer(model, WEIGHT), "data_type", 8)),
        "type signed": changed(lambda model: setattr(initializer(model, WEIGHT), "data_type", 3)),
        "inline shorter than its shape": changed(
            lambda model: initializer(model, SCALE).MergeFrom(TensorProto(dims=[1000]))
        ),
        "inline longer than its shape": changed(
            lambda model: setattr(initializer(model, SCALE), "raw_data", bytes(64))
        ),
        "code 3": other_tensor(WEIGHT, damaged),
        "weights of floats": other_tensor(WEIGHT, codes.astype(np.float32)),
        "weights of other rows": other_tensor(WEIGHT, codes[:32]),
        "weights of other columns": other_tensor(WEIGHT, codes[:, :12]),
        "scale NaN": other_tensor(SCALE, np.array([np.nan], np.float32)),
        "scale infinite": other_tensor(SCALE, np.array([np.inf], np.float32)),
        "scale zero": other_tensor(SCALE, np.array([0], np.float32)),
        "scale negative": other_tensor(SCALE, np.array([-1], np.float32)),
        "scale of integers": other_tensor(SCALE, np.array([1], np.int32)),
        "scales of seven": other_tensor(SCALE, np.ones(7, np.float32)),
        "norm NaN": other_tensor(NORM, np.full(64, np.nan, np.float32)),
        "norm shorter": other_tensor(NORM, np.ones(32, np.float32)),
        "norm matrix": other_tensor(NORM, np.ones((64, 64), np.float32)),
        "tensor missing": changed(lambda model: model.graph.initializer.remove(initializer(model, WEIGHT))),
        "tensor twice": changed(lambda model: model.graph.initializer.append(initializer(model, WEIGHT))),
        "tensor without a name": changed(lambda model: setattr(initializer(model, WEIGHT), "name", "")),
        "rotary table shorter": other_tensor("cos_cache", np.ones((4, 8), np.float32)),
        "rotary table of other heads": other_tensor("cos_cache", np.ones((256, 5), np.float32)),
    }


def _cases_of_nodes() -> dict[str, Case]:
    mlp, attention = "model.layers.0.mlp", "model.layers.0.self_attn"
    return {
        "graph missing": changed(lambda model: model.ClearField("graph")),
        "no nodes": changed(lambda model: model.graph.ClearField("node")),
        "no inputs": changed(lambda model: model.graph.ClearField("input")),
        "no outputs": changed(lambda model: model.graph.ClearField("output")),
        "output of nothing": changed(lambda model: setattr(model.graph.output[0], "name", "nothing")),
        "input without a type": changed(lambda model: model.graph.input[0].ClearField("type")),
        "input of texts": changed(
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.STRING)
        ),
        "input without a shape": changed(
            lambda model: model.graph.input[0].type.tensor_type.ClearField("shape")
        ),
        "input twice": changed(lambda model: model.graph.input.append(model.graph.input[0])),
        "value that nobody makes": other_input(f"{mlp}.gated", 1, "nobody"),
        "cycle of one node": other_input(f"{mlp}.gated", 1, f"{mlp}.gated"),
        "cycle of two nodes": other_input(f"{mlp}.relu", 0, f"{mlp}.activation"),
        "nodes in reverse": changed(
            lambda model: model.graph.node.sort(key=lambda node: node.name, reverse=True)
        ),
        "value made twice": changed(lambda model: model.graph.node.append(node_of(model, f"{mlp}.gated"))),
        "node without an operator": changed(
            lambda model: setattr(node_of(model, f"{mlp}.relu"), "op_type", "")
        ),
        "unknown operator": changed(
            lambda model: setattr(node_of(model, f"{mlp}.relu"), "op_type", "Sparkle")
        ),
        "unknown domain": changed(lambda model: setattr(node_of(model, f"{mlp}.relu"), "domain", "sparkle")),
        "unknown operator of ours": changed(
            lambda model: setattr(node_of(model, f"{mlp}.down_proj"), "op_type", "TritLinear")
        ),
        "node without outputs": changed(lambda model: node_of(model, f"{mlp}.relu").ClearField("output")),
        "node without inputs": _drop_inputs(f"{mlp}.relu", 0),
        "linear of one input": _drop_inputs(f"{mlp}.down_proj", 1),
        "linear without a scale": _drop_inputs(f"{mlp}.down_proj", 2),
        "linear without a matrix": other_input(f"{mlp}.down_proj", 1, ""),
        "linear of a computed matrix": other_input(f"{mlp}.down_proj", 1, f"{mlp}.gated"),
        "linear of a computed scale": other_input(f"{mlp}.down_proj", 2, f"{mlp}.gated"),
        "linear of the wrong matrix": other_input(f"{mlp}.down_proj", 1, f"{attention}.k_proj.weight"),
        "matmul of one input": _drop_inputs(f"{attention}.q_proj.matmul", 1),
        "quantiser of nothing": _drop_inputs(f"{attention}.quantize", 0),
        "dequantiser of two inputs": _drop_inputs(f"{attention}.q_proj", 2),
        "norm of one input": _drop_inputs("model.layers.0.input_layernorm", 1),
        "norm of another weight": other_input("model.layers.0.input_layernorm", 1, TABLE),
        "rotary of two inputs": _drop_inputs(f"{attention}.q_rotary", 2),
        "attention of four inputs": _drop_inputs(f"{attention}.attention", 4),
        "attention without a mask": other_input(f"{attention}.attention", 3, ""),
        "attention with the mask of nobody": other_input(f"{attention}.attention", 3, "nobody"),
        "residual of other sizes": other_input(f"{mlp}.residual", 0, f"{mlp}.gated"),
        "head of nothing": _drop_inputs("lm_head", 1),
        "embedding of nothing": _drop_inputs("model.embed_tokens", 1),
        "heads none": changed_attribute(f"{attention}.attention", "q_num_heads", i=0),
        "heads negative": changed_attribute(f"{attention}.attention", "q_num_heads", i=-4),
        "heads huge": changed_attribute(f"{attention}.attention", "q_num_heads", i=2**62),
        "heads of rotary none": changed_attribute(f"{attention}.q_rotary", "num_heads", i=0),
        "key heads that do not divide": changed_attribute(f"{attention}.attention", "kv_num_heads", i=3),
        "heads a text": changed_attribute(f"{attention}.attention", "q_num_heads", type=3, s=b"four"),
        "epsilon NaN": changed_attribute("model.layers.0.input_layernorm", "epsilon", f=float("nan")),
        "epsilon negative": changed_attribute("model.layers.0.input_layernorm", "epsilon", f=-1.0),
        "epsilon a text": changed_attribute("model.layers.0.input_layernorm", "epsilon", type=3, s=b"small"),
        "axis far away": changed_attribute("model.layers.0.input_layernorm", "axis", i=17),
        "softmax scale NaN": changed_attribute(f"{attention}.attention", "scale", f=float("nan")),
        "attributes missing": changed(
            lambda model: node_of(model, f"{attention}.attention").ClearField("attribute")
        ),
        "attribute twice": changed(
            lambda model: node_of(model, f"{attention}.attention").attribute.append(
                node_of(model, f"{attention}.attention").attribute[0]
            )
        ),
        "graphs in graphs": changed(_deep_graphs),
        "functions in a circle": changed(_functions_in_a_circle),
        "opset missing": changed(lambda model: model.ClearField("opset_import")),
        "opset 1": changed(lambda model: setattr(model.opset_import[0], "version", 1)),
        "opset huge": changed(lambda model: setattr(model.opset_import[0], "version", 2**62)),
        "format missing": _property("edgebit.format", None),
        "format of tomorrow": _property("edgebit.format", "2"),
        "name missing": _property("edgebit.name", None),
        "context text": _property("edgebit.context_length", "long"),
        "context negative": _property("edgebit.context_length", "-1"),
        "context huge": _property("edgebit.context_length", "9" * 30),
        "context past the tables": _property("edgebit.context_length", "100000"),
        "stops text": _property("edgebit.stop_token_ids", "none"),
        "stops object": _property("edgebit.stop_token_ids", "{}"),
        "stops deep": _property("edgebit.stop_token_ids", "[" * 100_000),
        "stops outside": _property("edgebit.stop_token_ids", "[100000]"),
        "first token outside": _property("edgebit.bos_token_id", "-7"),
        "template broken": _property("edgebit.chat_template", "{% for %}"),
        "overrides number": _property("edgebit.overrides", "7"),
    }


def cases() -> Cases:
    return {**_cases_of_bytes(), **_cases_of_tensors(), **_cases_of_nodes()}
