"""What of a graph is known when it is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
import tvm
from onnx import helper
from tvm import relax
from tvm.script import tirx as T

from edgebit.compiler.general import plan_graph
from edgebit.compiler.general.constants import fold, neutral
from edgebit.schedules.default_schedule import BLOCK, default_schedule
from edgebit.schedules.tier import TIERS
from tests.schedules.harness import Call, link, same_bits
from tests.schedules.test_default_schedule import elementwise, inputs
from tests.tensor_graphs import small_graph

X = relax.Var("x", relax.TensorType([2, 3, 4], "float32"))


def node(operator: str, inputs: int = 1, **attributes: Any) -> ir.Node:
    names = [f"i{k}" for k in range(inputs)]
    return ir.from_proto(helper.make_node(operator, names, ["y"], **attributes))


def constant(value: Any, dtype: str = "float32") -> Any:
    return relax.const(tvm.runtime.tensor(np.array(value, dtype)))


@pytest.mark.parametrize(
    ("call", "inputs", "expected"),
    [
        (node("Shape"), [X], [2, 3, 4]),
        (node("Shape", start=-2, end=-1), [X], [3]),
        (node("Size"), [X], 24),
        (node("Div", 2), [constant(-7, "int64"), constant(2, "int64")], -3),
        (node("Less", 2), [constant([0.5, 2.0]), constant(1.0)], [True, False]),
        (node("Constant", 0, value_ints=[1, 2]), [], [1, 2]),
        (node("Where", 3), [constant(True, "bool"), constant(1.0), constant(2.0)], 1.0),
        (node("ReduceMax", 2, keepdims=0), [constant([[1, 5]]), constant([1], "int64")], [5.0]),
    ],
)
def test_shapes_and_exact_arithmetic_are_computed(
    call: ir.Node, inputs: list[Any], expected: npt.ArrayLike
) -> None:
    found = fold(call, inputs, 23)
    assert found is not None and np.array_equal(found, np.array(expected))


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        (node("Exp"), [constant(1.0)]),  # numpy's depends on the CPU
        (node("Add", 2), [X, constant(1.0)]),
        (node("ConstantOfShape"), [constant([1 << 20, 1 << 20], "int64")]),
        (node("Expand", 2), [constant(1.0), constant([1 << 40], "int64")]),
        (node("Range", 3), [constant(0, "int64"), constant(1 << 50, "int64"), constant(1, "int64")]),
        (node("Add", 2), [constant(np.zeros((1, 4096))), constant(np.zeros((4096, 1)))]),
        (node("Reshape", 2), [constant([1.0, 2.0]), constant([3], "int64")]),  # wrong: the converter says so
    ],
)
def test_what_is_not_known_or_too_large_or_wrong_is_left(call: ir.Node, inputs: list[Any]) -> None:
    assert fold(call, inputs, 23) is None


@pytest.mark.parametrize(
    ("call", "inputs", "expected"),
    [
        (node("Add", 2), [X, constant(np.zeros((3, 1)))], 0),
        (node("Add", 2), [constant(0.0), X], 1),
        (node("Add", 2), [X, constant(np.zeros((5, 2, 3, 4)))], None),  # the result is larger
        (node("Mul", 2), [X, constant(1.0)], 0),
        (node("Div", 2), [constant(1.0), X], None),
        (node("Where", 3), [constant([[False], [False], [False]], "bool"), constant(0.0), X], 2),
        (node("Where", 3), [constant([[True], [False], [False]], "bool"), constant(0.0), X], None),
        (node("Expand", 2), [X, constant([1, 4], "int64")], 0),
        (node("Expand", 2), [X, constant([5, 1, 1, 1], "int64")], None),
    ],
)
def test_what_changes_nothing_is_left_out(call: ir.Node, inputs: list[Any], expected: int | None) -> None:
    assert neutral(call, inputs) == expected


def test_a_shape_that_is_computed_costs_nothing() -> None:
    """As exporters write x.flatten(1): Shape, Slice, Concat, Reshape."""
    initializers = {"zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1])}
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Slice", ["sizes", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    plan, weights = plan_graph(ir.from_proto(small_graph(nodes, initializers, [2, 3, 4])))
    assert len(plan.run) == 1 and not weights.sections
    assert [tensor.shape for tensor in plan.outputs] == [(2, 12)]


def test_functions_of_constants_have_the_bits_of_the_kernels(tmp_path: Path) -> None:
    """Not those of this machine's libm: the same bytes on every workstation."""
    x = inputs()
    nodes = [helper.make_node("Sin", ["c"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    plan, weights = plan_graph(ir.from_proto(small_graph(nodes, {"c": x}, x.shape)))
    assert len(plan.run) == 1
    (section,) = weights.sections
    known = np.frombuffer(b"".join(section.chunks()), np.float32).reshape(x.shape)
    tier = TIERS["sse2"]
    program = link(lambda: {"sin": default_schedule(tier, elementwise(T.sin))}, tier, tmp_path)
    units = x.shape[0] * -(-x.shape[1] // BLOCK)
    same_bits(known, program.run({"x": x, "y": np.zeros_like(x)}, [Call("sin", ["x", "y"], (units, 0))])["y"])
