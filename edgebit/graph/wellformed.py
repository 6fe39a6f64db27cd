"""Is a parsed ONNX graph one at all: names there once and made before they are used, tensors of a size?

onnx.checker says some of it, but of files on disk alone and in ten lines; and ONNX readers differ in what
they do with a name that is there twice. Nothing behind this check has to think of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import prod

import onnx
import onnx_ir as ir
from onnx import TensorProto

from edgebit.errors import GraphError

_NO_NUMBERS = (TensorProto.UNDEFINED, TensorProto.STRING)
_LARGEST_DIMENSION = 1 << 31


def check_graph(graph: onnx.GraphProto, source: str) -> None:
    """Raises GraphError naming ``source`` and the value, node or tensor that is wrong."""
    _refuse_twice([value.name for value in graph.input], "graph input", source)
    _refuse_twice([tensor.name for tensor in graph.initializer], "tensor", source)
    for tensor in graph.initializer:
        _check_tensor(tensor, f"{source}: tensor {tensor.name}")
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type.elem_type
        if not value.name or (value in graph.input and kind in _NO_NUMBERS):
            raise GraphError(f"{source}: graph input {value.name or '(unnamed)'} is no tensor of numbers")
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        _check_node(node, known, source)
        known.update(name for name in node.output if name)
    for value in graph.output:
        if value.name not in known:
            raise GraphError(f"{source}: graph output {value.name} is made by no node")


def _check_node(node: onnx.NodeProto, known: set[str], source: str) -> None:
    where = f"{source}: node {node.name or '(unnamed)'} ({node.op_type or 'no operator'})"
    for name in node.input:
        if name and name not in known:
            raise GraphError(f"{where} reads {name}, which nothing before it makes")
    for name in node.output:
        if name in known:
            raise GraphError(f"{where} makes {name}, which is there already")
    if not node.output or not node.output[0]:
        raise GraphError(f"{where} has no output")
    twice = [name for name, count in Counter(a.name for a in node.attribute).items() if count > 1]
    if twice:
        raise GraphError(f"{where} has the attribute {twice[0]} twice")


def _check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    if tensor.data_type in _NO_NUMBERS or tensor.data_type not in TensorProto.DataType.values():
        raise GraphError(f"{where} is of type {tensor.data_type}, which holds no numbers")
    if any(not 0 <= size < _LARGEST_DIMENSION for size in tensor.dims):
        raise GraphError(f"{where} is {list(tensor.dims)[:8]}, which is no shape")
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    values = prod(tensor.dims)
    bits = ir.DataType(tensor.data_type).bitwidth
    if tensor.HasField("raw_data") and len(tensor.raw_data) != -(-values * bits // 8):
        raise GraphError(f"{where} has {len(tensor.raw_data)} bytes for {list(tensor.dims)}")


def _refuse_twice(names: Iterable[str], what: str, source: str) -> None:
    for name, count in Counter(names).items():
        if count > 1 or not name:
            raise GraphError(
                f"{source}: {what} {name or '(unnamed)'} is there {count} times; export it again"
            )
