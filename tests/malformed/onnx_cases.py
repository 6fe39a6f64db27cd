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


def _graph(change: Callable[[Model], object]) -> Case:
    def damage(folder: Path) -> None:
        model = onnx.load(folder / GRAPH, load_external_data=False)
        change(model)
        (folder / GRAPH).write_bytes(model.SerializeToString())

    return damage


def _initializer(model: Model, name: str) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _node(model: Model, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _external(name: str, **entries: object) -> Case:
    """Other entries in the reference of a tensor to the data file."""

    def change(model: Model) -> None:
        found = {entry.key: entry.value for entry in _initializer(model, name).external_data}
        found |= {key: str(value) for key, value in entries.items() if value is not None}
        for key in [key for key, value in entries.items() if value is None]:
            found.pop(key, None)
        del _initializer(model, name).external_data[:]
        for key, value in found.items():
            _initializer(model, name).external_data.add(key=key, value=value)

    return _graph(change)


def _replace(name: str, array: np.ndarray) -> Case:
    """Another tensor inside the file in the place of one."""
    return _graph(lambda model: _initializer(model, name).CopyFrom(numpy_helper.from_array(array, name)))


def _shape(name: str, *dims: int) -> Case:
    def change(model: Model) -> None:
        tensor = _initializer(model, name)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return _graph(change)


def _attribute(node: str, name: str, **values: object) -> Case:
    def change(model: Model) -> None:
        attribute = next(a for a in _node(model, node).attribute if a.name == name)
        for key, value in values.items():
            setattr(attribute, key, value)

    return _graph(change)


def _inputs(node: str, index: int, name: str) -> Case:
    return _graph(lambda model: _node(model, node).input.__setitem__(index, name))


def _drop_inputs(node: str, left: int) -> Case:
    return _graph(lambda model: _node(model, node).input.__delitem__(slice(left, None)))


def _property(key: str, value: str | None) -> Case:
    def change(model: Model) -> None:
        kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != key}
        helper.set_model_props(model, kept | ({} if value is None else {key: value}))

    return _graph(change)


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
    relu = _node(model, "model.layers.0.mlp.relu")
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
        "offset past the end": _external(WEIGHT, offset=10**12),
        "offset negative": _external(WEIGHT, offset=-4096),
        "offset text": _external(WEIGHT, offset="soon"),
        "offset of many digits": _external(WEIGHT, offset="9" * 5000),
        "length too small": _external(WEIGHT, length=1),
        "length huge": _external(WEIGHT, length=2**62),
        "length negative": _external(WEIGHT, length=-1),
        "location outside": _external(WEIGHT, location="../checkpoint/model.safetensors"),
        "location absolute": _external(WEIGHT, location="/etc/hostname"),
        "location empty": _external(WEIGHT, location=""),
        "location this folder": _external(WEIGHT, location="."),
        "location missing": _external(WEIGHT, location=None),
        "location unknown": _external(WEIGHT, location="other.data"),
        "location with a NUL": _external(WEIGHT, location="a\0b"),
        "location of a long name": _external(WEIGHT, location="a" * 5000),
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
        "type unknown": _graph(lambda model: setattr(_initializer(model, WEIGHT), "data_type", 99)),
        "type missing": _graph(lambda model: setattr(_initializer(model, WEIGHT), "data_type", 0)),
        "type of texts": _graph(lambda model: setattr(_initializer(model, WEIGHT), "data_type", 8)),
        "type signed": _graph(lambda model: setattr(_initializer(model, WEIGHT), "data_type", 3)),
        "inline shorter than its shape": _graph(
            lambda model: _initializer(model, SCALE).MergeFrom(TensorProto(dims=[1000]))
        ),
        "inline longer than its shape": _graph(
            lambda model: setattr(_initializer(model, SCALE), "raw_data", bytes(64))
        ),
        "code 3": _replace(WEIGHT, damaged),
        "weights of floats": _replace(WEIGHT, codes.astype(np.float32)),
        "weights of other rows": _replace(WEIGHT, codes[:32]),
        "weights of other columns": _replace(WEIGHT, codes[:, :12]),
        "scale NaN": _replace(SCALE, np.array([np.nan], np.float32)),
        "scale infinite": _replace(SCALE, np.array([np.inf], np.float32)),
        "scale zero": _replace(SCALE, np.array([0], np.float32)),
        "scale negative": _replace(SCALE, np.array([-1], np.float32)),
        "scale of integers": _replace(SCALE, np.array([1], np.int32)),
        "scales of seven": _replace(SCALE, np.ones(7, np.float32)),
        "norm NaN": _replace(NORM, np.full(64, np.nan, np.float32)),
        "norm shorter": _replace(NORM, np.ones(32, np.float32)),
        "norm matrix": _replace(NORM, np.ones((64, 64), np.float32)),
        "tensor missing": _graph(lambda model: model.graph.initializer.remove(_initializer(model, WEIGHT))),
        "tensor twice": _graph(lambda model: model.graph.initializer.append(_initializer(model, WEIGHT))),
        "tensor without a name": _graph(lambda model: setattr(_initializer(model, WEIGHT), "name", "")),
        "rotary table shorter": _replace("cos_cache", np.ones((4, 8), np.float32)),
        "rotary table of other heads": _replace("cos_cache", np.ones((256, 5), np.float32)),
    }


def _cases_of_nodes() -> dict[str, Case]:
    mlp, attention = "model.layers.0.mlp", "model.layers.0.self_attn"
    return {
        "graph missing": _graph(lambda model: model.ClearField("graph")),
        "no nodes": _graph(lambda model: model.graph.ClearField("node")),
        "no inputs": _graph(lambda model: model.graph.ClearField("input")),
        "no outputs": _graph(lambda model: model.graph.ClearField("output")),
        "output of nothing": _graph(lambda model: setattr(model.graph.output[0], "name", "nothing")),
        "input without a type": _graph(lambda model: model.graph.input[0].ClearField("type")),
        "input of texts": _graph(
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.STRING)
        ),
        "input without a shape": _graph(
            lambda model: model.graph.input[0].type.tensor_type.ClearField("shape")
        ),
        "input twice": _graph(lambda model: model.graph.input.append(model.graph.input[0])),
        "value that nobody makes": _inputs(f"{mlp}.gated", 1, "nobody"),
        "cycle of one node": _inputs(f"{mlp}.gated", 1, f"{mlp}.gated"),
        "cycle of two nodes": _inputs(f"{mlp}.relu", 0, f"{mlp}.activation"),
        "nodes in reverse": _graph(
            lambda model: model.graph.node.sort(key=lambda node: node.name, reverse=True)
        ),
        "value made twice": _graph(lambda model: model.graph.node.append(_node(model, f"{mlp}.gated"))),
        "node without an operator": _graph(lambda model: setattr(_node(model, f"{mlp}.relu"), "op_type", "")),
        "unknown operator": _graph(lambda model: setattr(_node(model, f"{mlp}.relu"), "op_type", "Sparkle")),
        "unknown domain": _graph(lambda model: setattr(_node(model, f"{mlp}.relu"), "domain", "sparkle")),
        "unknown operator of ours": _graph(
            lambda model: setattr(_node(model, f"{mlp}.down_proj"), "op_type", "TritLinear")
        ),
        "node without outputs": _graph(lambda model: _node(model, f"{mlp}.relu").ClearField("output")),
        "node without inputs": _drop_inputs(f"{mlp}.relu", 0),
        "linear of one input": _drop_inputs(f"{mlp}.down_proj", 1),
        "linear without a scale": _drop_inputs(f"{mlp}.down_proj", 2),
        "linear without a matrix": _inputs(f"{mlp}.down_proj", 1, ""),
        "linear of a computed matrix": _inputs(f"{mlp}.down_proj", 1, f"{mlp}.gated"),
        "linear of a computed scale": _inputs(f"{mlp}.down_proj", 2, f"{mlp}.gated"),
        "linear of the wrong matrix": _inputs(f"{mlp}.down_proj", 1, f"{attention}.k_proj.weight"),
        "matmul of one input": _drop_inputs(f"{attention}.q_proj.matmul", 1),
        "quantiser of nothing": _drop_inputs(f"{attention}.quantize", 0),
        "dequantiser of two inputs": _drop_inputs(f"{attention}.q_proj", 2),
        "norm of one input": _drop_inputs("model.layers.0.input_layernorm", 1),
        "norm of another weight": _inputs("model.layers.0.input_layernorm", 1, TABLE),
        "rotary of two inputs": _drop_inputs(f"{attention}.q_rotary", 2),
        "attention of four inputs": _drop_inputs(f"{attention}.attention", 4),
        "attention without a mask": _inputs(f"{attention}.attention", 3, ""),
        "attention with the mask of nobody": _inputs(f"{attention}.attention", 3, "nobody"),
        "residual of other sizes": _inputs(f"{mlp}.residual", 0, f"{mlp}.gated"),
        "head of nothing": _drop_inputs("lm_head", 1),
        "embedding of nothing": _drop_inputs("model.embed_tokens", 1),
        "heads none": _attribute(f"{attention}.attention", "q_num_heads", i=0),
        "heads negative": _attribute(f"{attention}.attention", "q_num_heads", i=-4),
        "heads huge": _attribute(f"{attention}.attention", "q_num_heads", i=2**62),
        "heads of rotary none": _attribute(f"{attention}.q_rotary", "num_heads", i=0),
        "key heads that do not divide": _attribute(f"{attention}.attention", "kv_num_heads", i=3),
        "heads a text": _attribute(f"{attention}.attention", "q_num_heads", type=3, s=b"four"),
        "epsilon NaN": _attribute("model.layers.0.input_layernorm", "epsilon", f=float("nan")),
        "epsilon negative": _attribute("model.layers.0.input_layernorm", "epsilon", f=-1.0),
        "epsilon a text": _attribute("model.layers.0.input_layernorm", "epsilon", type=3, s=b"small"),
        "axis far away": _attribute("model.layers.0.input_layernorm", "axis", i=17),
        "softmax scale NaN": _attribute(f"{attention}.attention", "scale", f=float("nan")),
        "attributes missing": _graph(
            lambda model: _node(model, f"{attention}.attention").ClearField("attribute")
        ),
        "attribute twice": _graph(
            lambda model: _node(model, f"{attention}.attention").attribute.append(
                _node(model, f"{attention}.attention").attribute[0]
            )
        ),
        "graphs in graphs": _graph(_deep_graphs),
        "functions in a circle": _graph(_functions_in_a_circle),
        "opset missing": _graph(lambda model: model.ClearField("opset_import")),
        "opset 1": _graph(lambda model: setattr(model.opset_import[0], "version", 1)),
        "opset huge": _graph(lambda model: setattr(model.opset_import[0], "version", 2**62)),
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
