"""What of a graph is known before it runs: shapes, what is computed from constants, and what changes nothing.

Only operators that give the same bits on every workstation are computed here: those of integers, those that
move data, and the float arithmetic that IEEE 754 prescribes to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import tvm
from onnx import helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]

_EXACT = frozenset(
    "Abs Add And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Concat Constant "
    "ConstantOfShape Div Equal Expand Flatten Floor Gather Greater GreaterOrEqual Identity Less LessOrEqual "
    "Max Min Mod Mul Neg Not Or Range ReduceMax ReduceMin Reshape Shape Sign Size Slice Sqrt Squeeze Sub "
    "Tile Transpose Trilu Unsqueeze Where Xor".split()
)
_MOST_ELEMENTS = 1 << 22
"""Of constants that are computed here: TVM folds larger ones."""

_NEUTRAL: Mapping[str, tuple[float, Sequence[int]]] = {
    "Add": (0.0, (0, 1)),
    "Sub": (0.0, (1,)),
    "Mul": (1.0, (0, 1)),
    "Div": (1.0, (1,)),
}
"""Operator: the constant that changes nothing (but a zero's sign), and the inputs where it may stand."""


def fold(node: ir.Node, inputs: Sequence[Any], opset: int) -> Array | None:
    """The value of a node of one output, where it is known. ``inputs``: Relax expressions, or None."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in _EXACT or len(node.outputs) != 1:
        return None
    if node.op_type == "Shape" and inputs[0] is not None:
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        sizes = _shape(inputs[0])[start.as_int() if start else 0 : end.as_int() if end else None]
        return np.array(sizes, np.int64)
    if node.op_type == "Size" and inputs[0] is not None:
        return np.array(prod(_shape(inputs[0])), np.int64)
    if not all(value is None or isinstance(value, tvm.ir.GenericConst) for value in inputs):
        return None
    known = [None if value is None else value.value.numpy() for value in inputs]
    if _elements(node.op_type, known) > _MOST_ELEMENTS:
        return None
    return _evaluated(node, known, opset)


def neutral(node: ir.Node, inputs: Sequence[Any]) -> int | None:
    """Which input the node's value is, where the others change nothing: a sum with zeros, a choice that is
    made already.
    """
    if node.domain not in ("", "ai.onnx") or any(value is None for value in inputs):
        return None
    if node.op_type == "Identity":
        return 0
    if node.op_type == "Expand" and isinstance(inputs[1], tvm.ir.GenericConst):
        return 0 if _shape(inputs[0]) == _broadcast([_shape(inputs[0]), inputs[1].value.numpy()]) else None
    if node.op_type == "Where" and isinstance(inputs[0], tvm.ir.GenericConst):
        chosen = inputs[0].value.numpy()
        index = 1 if chosen.all() else 2
        return index if (index == 1 or not chosen.any()) and _is_whole(inputs, index) else None
    if node.op_type in _NEUTRAL:
        unit, places = _NEUTRAL[node.op_type]
        for place in places:
            given = inputs[place]
            is_unit = isinstance(given, tvm.ir.GenericConst) and (given.value.numpy() == unit).all()
            if is_unit and _is_whole(inputs, 1 - place):
                return 1 - place
    return None


def _is_whole(inputs: Sequence[Any], index: int) -> bool:
    """Whether an input has the shape of the result."""
    return _shape(inputs[index]) == _broadcast([_shape(value) for value in inputs])


def _broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*(tuple(map(int, shape)) for shape in shapes))
    except ValueError:
        return None


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in value.ty.shape.values)


def _elements(operator: str, inputs: Sequence[Array | None]) -> float:
    """Of the largest input and of the result, or a few more."""
    given = [value for value in inputs if value is not None]
    sizes = [float(value.size) for value in given]
    if operator in ("ConstantOfShape", "Expand", "Tile"):
        repeats = float(np.prod(np.maximum(given[-1].astype(np.float64), 1)))
        return repeats * max([1.0, *sizes[:-1]])
    if operator == "Range":
        start, limit, step = (float(value) for value in given)
        return abs((limit - start) / step) if step else float("inf")
    if operator == "Gather":
        return float(np.prod(sizes))
    whole = _broadcast([value.shape for value in given])
    return sum(sizes) if whole is None else max(sum(sizes), float(prod(whole)))


def _evaluated(node: ir.Node, inputs: Sequence[Array | None], opset: int) -> Array | None:
    """By ONNX's reference. None where it refuses: the converter that comes next says why."""
    names = [f"input_{i}" if value is not None else "" for i, value in enumerate(inputs)]
    call = helper.make_node(node.op_type, names, ["output"])
    call.attribute.extend(ir.to_proto(attribute) for attribute in node.attributes.values())
    graph = helper.make_graph(
        [call],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in zip(names, inputs, strict=True)
            if value is not None
        ],
        [helper.make_empty_tensor_value_info("output")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if value is not None}
    try:
        results: Any = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # numpy's of every kind
        return None
    result = np.asarray(results[0])
    return result if result.dtype != object else None
