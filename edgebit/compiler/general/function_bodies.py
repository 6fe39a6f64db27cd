"""The bodies that the ONNX standard gives its own operators: Attention, RotaryEmbedding, Celu, ... ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, inliner

_DOMAIN = "body"


def function_body(node: ir.Node, types: Sequence[Any], opset: int) -> ir.Graph | None:
    """``node`` as a graph of simpler operators, from its inputs that are there to its outputs that are named.

    ``types``: of the inputs, Relax tensors of static shapes, None where an input is left out. None: the
    standard has no body for the operator.
    """
    inputs = [f"input_{i}" if given is not None else "" for i, given in enumerate(types)]
    outputs = [f"output_{i}" if value.name else "" for i, value in enumerate(node.outputs)]
    call = helper.make_node(node.op_type, inputs, outputs)
    call.attribute.extend(ir.to_proto(attribute) for attribute in node.attributes.values())
    values = [_value_info(name, given) for name, given in zip(inputs, types, strict=True)]
    body = _standard_body(call, values, opset) if node.domain in ("", "ai.onnx") else None
    if body is None:
        return None
    call.domain = body.domain = _DOMAIN
    body.name = node.op_type
    results = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
    graph = helper.make_graph([call], "body", [value for value in values if value.name], results)
    imports = [*body.opset_import, helper.make_opsetid(_DOMAIN, 1)]
    model = helper.make_model(graph, functions=[body], opset_imports=imports)
    return ir.from_proto(inliner.inline_local_functions(model)).graph


def _standard_body(
    call: onnx.NodeProto, values: Sequence[onnx.ValueInfoProto], opset: int
) -> onnx.FunctionProto | None:
    """Of the newest version that an operator set has; some depend on the types of the inputs."""
    if not onnx.defs.has(call.op_type, opset):
        return None
    schema: Any = onnx.defs.get_schema(call.op_type, opset)  # onnx's stubs leave these methods out
    plain = [version for version in schema.function_opset_versions if version <= opset]
    by_type = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    if plain:
        data = schema.get_function_with_opset_version(max(plain))
    elif by_type:
        types = [value.type.SerializeToString() for value in values]
        data = schema.get_context_dependent_function_with_opset_version(
            max(by_type), call.SerializeToString(), types
        )
    else:
        return None
    return onnx.FunctionProto.FromString(data) if data else None


def _value_info(name: str, given: Any) -> onnx.ValueInfoProto:
    if given is None:
        return onnx.ValueInfoProto(name="", type=onnx.TypeProto())
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(str(given.dtype)))
    return helper.make_tensor_value_info(name, kind, [int(size) for size in given.shape.values])
