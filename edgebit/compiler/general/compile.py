"""A graph of any operators in, plan, weights and kernel objects out."""

from __future__ import annotations

import onnx_ir as ir

from edgebit.compiler.converters import EDGEBIT_DOMAIN
from edgebit.compiler.general.importer import GeneralImporter
from edgebit.compiler.general.legalize import legalize
from edgebit.compiler.general.planner import plan_tensors
from edgebit.compiler.plan import Plan
from edgebit.compiler.weights import Weights
from edgebit.errors import CompileError
from edgebit.graph.dimensions import dimension_names
from edgebit.schedules.canonical import DTYPES

_TERNARY_PLACES = {
    "BitLinear": (1, 2),
    "TernaryMatMulInteger": (1,),
    "DequantizeAccumulator": (2,),
    "TernaryMatMul": (1, 2),
}
"""The inputs of ai.edgebit operators that are ternary weights and their scales."""


def plan_graph(model: ir.Model) -> tuple[Plan, Weights]:
    """The plan of a graph of static shapes, and its weights. Raises CompileError naming the input or node
    that cannot be compiled.
    """
    for value in model.graph.inputs:
        _check_input(value)
    names = [str(value.name) for value in model.graph.outputs]
    imported = GeneralImporter(model, _ternary_weights(model.graph)).run(names)
    module = legalize(imported.module)
    inputs = [str(value.name) for value in model.graph.inputs]
    return plan_tensors(imported, module, model.graph.initializers, inputs, names)


def _check_input(value: ir.Value) -> None:
    where = f"graph input {value.name}"
    if value.shape is None or value.dtype is None:
        raise CompileError(f"{where}: its shape or type is unknown; export the model with both")
    if not all(isinstance(dimension, int) for dimension in value.shape):
        names = dimension_names(value)
        sizes = " ".join(f"--dim {name}=N" for name in names)
        way = f"give it a size with {sizes}" if names else "export it with a size, or a name"
        raise CompileError(
            f"{where}: dimension {names[0] if names else '?'} of {value.shape} is not fixed; {way}"
        )
    if value.dtype.numpy().name not in DTYPES:
        raise CompileError(
            f"{where}: {value.dtype.name} values; inputs are {', '.join(DTYPES)}: "
            "convert the model, with torch by module.float()"
        )


def _ternary_weights(graph: ir.Graph) -> frozenset[str]:
    """Initializers that ternary kernels read: they are packed into the weights, whatever their size."""
    return frozenset(
        str(value.name)
        for node in graph
        if node.domain == EDGEBIT_DOMAIN
        for place in _TERNARY_PLACES.get(node.op_type, ())
        for value in (node.inputs[place],)
        if value is not None and value.name in graph.initializers
    )
