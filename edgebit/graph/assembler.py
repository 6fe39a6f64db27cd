"""Typed nodes for onnx_ir: every value carries name, dtype and shape from the moment it exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgebit.graph.operators import DOMAIN, DOMAIN_VERSION, OPSET_VERSION, functions

IR_VERSION = 10
# Dimension names as onnxruntime-genai knows them.
BATCH = "batch_size"
SEQUENCE = "sequence_length"
PAST = "past_sequence_length"
TOTAL = f"{PAST} + {SEQUENCE}"

FLOAT = ir.DataType.FLOAT
INT64 = ir.DataType.INT64
Dims = Sequence[int | str]
Output = tuple[str, ir.DataType, Dims]


class Assembler:
    """Collects nodes, initializers, inputs and outputs of one graph; an output is called like its node."""

    def __init__(self) -> None:
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []

    def input(self, name: str, dtype: ir.DataType, shape: Dims) -> ir.Value:
        value = _value(name, dtype, shape)
        self._inputs.append(value)
        return value

    def output(self, value: ir.Value) -> None:
        self._outputs.append(value)

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """The value of a named tensor; a name is entered once and shared afterwards."""
        name = str(tensor.name)
        if name not in self._initializers:
            value = _value(name, tensor.dtype, tensor.shape.numpy())
            value.const_value = tensor
            self._initializers[name] = value
        return self._initializers[name]

    def integers(self, name: str, value: int | list[int]) -> ir.Value:
        return self.initializer(ir.Tensor(np.array(value, np.int64), name=name))

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        dtype: ir.DataType,
        shape: Dims,
        **attributes: Any,
    ) -> ir.Value:
        """A standard operator with one output."""
        return self.nodes(op_type, inputs, name, [(name, dtype, shape)], **attributes)[0]

    def edgebit(
        self, op_type: str, inputs: Sequence[ir.Value], name: str, dtype: ir.DataType, shape: Dims
    ) -> ir.Value:
        """An operator of domain ai.edgebit with one output."""
        return self.nodes(op_type, inputs, name, [(name, dtype, shape)], domain=DOMAIN)[0]

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        outputs: Sequence[Output],
        domain: str = "",
        **attributes: Any,
    ) -> list[ir.Value]:
        """A node with the given outputs (name, dtype, shape)."""
        values = [_value(*output) for output in outputs]
        node = ir.node(op_type, inputs, attributes or None, domain=domain, outputs=values, name=name)
        self._nodes.append(node)
        return values

    def model(self, properties: dict[str, str]) -> ir.Model:
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": OPSET_VERSION, DOMAIN: DOMAIN_VERSION},
            name="main_graph",
        )
        return ir.Model(
            graph,
            ir_version=IR_VERSION,
            producer_name="edgebit",
            functions=functions(),
            metadata_props=properties,
        )


def _value(name: str, dtype: ir.DataType, shape: Dims) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(list(shape)))
