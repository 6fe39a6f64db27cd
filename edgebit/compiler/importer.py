"""ONNX → Relax, by (domain, operator), without touching the weights.

Operators that `converters.py` knows go through it; all others through TVM's own converter of that operator.
Floating-point and packed initializers become trailing parameters of ``main``: their bytes stay where they are
until `weights.py` streams them. The batch dimension is specialised to 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.frontend.onnx import onnx_frontend

from edgebit.compiler.converters import (
    CONVERTERS,
    EDGEBIT_DOMAIN,
    NODE,
    WINDOW,
    Attributes,
    Converters,
    Inputs,
    identifier,
)
from edgebit.errors import CompileError

_BATCH_DIMENSION = "batch_size"


@dataclass(frozen=True)
class ImportedGraph:
    """``module["main"]`` takes the graph inputs, then the weights; ``parameters``: initializer name by Relax
    variable name.
    """

    module: tvm.IRModule
    parameters: dict[str, str]


def import_onnx(
    model: ir.Model,
    outputs: Sequence[str],
    windows: Mapping[str, int] | None = None,
) -> ImportedGraph:
    """Build the Relax module of a decoder that returns a tuple of the named graph outputs.

    ``windows``: of Attention nodes by name (`decoder.check_decoder`). Raises CompileError naming the node
    that cannot be imported.
    """
    return Importer(model, windows or {}, CONVERTERS, None).run(outputs)


class Importer:
    """Walks the nodes of a graph in their order; ``values``: what is known by name so far.

    ``converters`` go before TVM's own. ``parameters``: the initializers that become parameters, all others
    become constants; None: weights by their type.
    """

    def __init__(
        self,
        model: ir.Model,
        windows: Mapping[str, int],
        converters: Converters,
        parameters: Collection[str] | None,
    ) -> None:
        self.windows = windows
        self.graph = model.graph
        self.converters = converters
        self.parameters = parameters
        self.opset = int(model.graph.opset_imports.get("", 23))
        self.builder = relax.BlockBuilder()
        self.values: dict[str, Any] = {}
        self.dimensions: dict[str, Any] = {_BATCH_DIMENSION: 1}
        self.stock = onnx_frontend._get_convert_map()

    def run(self, output_names: Sequence[str]) -> ImportedGraph:
        inputs = {identifier(value.name): value for value in self.graph.inputs}
        variables = [self._input(name, value) for name, value in inputs.items()]
        parameters: dict[str, str] = {}
        for name, value in self.graph.initializers.items():
            tensor = value.const_value
            if tensor is None:
                raise CompileError(f"initializer {name}: it has no value")
            if _is_parameter(tensor) if self.parameters is None else name in self.parameters:
                variable = relax.Var(
                    identifier(name), relax.TensorType(list(tensor.shape.numpy()), _dtype(tensor))
                )
                parameters[variable.name] = name
                variables.append(variable)
                self.values[name] = variable
            else:
                self.values[name] = relax.const(tvm.runtime.tensor(tensor.numpy()))
        try:
            self._function(variables, output_names)
        except CompileError:
            self.builder._end_block()  # one that is left open makes TVM print a second line
            raise
        return ImportedGraph(self.builder.get(), parameters)

    def _function(self, variables: Sequence[relax.Var], output_names: Sequence[str]) -> None:
        with self.builder.function("main", list(variables)):
            with self.builder.dataflow():
                for node in self.graph:
                    self.node(node)
                result = self.builder.emit_output(relax.Tuple([self.values[name] for name in output_names]))
            self.builder.emit_func_output(result)

    def _input(self, name: str, value: ir.Value) -> relax.Var:
        if value.shape is None or value.dtype is None:
            raise CompileError(f"graph input {value.name}: its shape or dtype is unknown")
        shape = [self._dimension(dimension) for dimension in value.shape]
        variable = relax.Var(name, relax.TensorType(shape, value.dtype.numpy().name))
        self.values[str(value.name)] = variable
        return variable

    def _dimension(self, dimension: int | ir.SymbolicDim) -> Any:
        """A static size, or the sum of named dimensions ("past_sequence_length + sequence_length")."""
        if isinstance(dimension, int):
            return dimension
        terms = [term.strip() for term in str(dimension.value).split("+")]
        total: Any = 0
        for term in terms:
            if term not in self.dimensions:
                self.dimensions[term] = tirx.Var(identifier(term), "int64")
            total = total + self.dimensions[term]
        return total

    def node(self, node: ir.Node) -> None:
        """Bind the values that a node makes. Raises CompileError naming it."""
        where = f"node {node.name or '(unnamed)'} ({node.domain or 'ai.onnx'}::{node.op_type})"
        inputs = onnx_frontend.onnx_input()
        for value in node.inputs:
            inputs.append(None if value is None else self.values[str(value.name)])
        attributes = {name: _attribute(attribute) for name, attribute in node.attributes.items()}
        attributes[NODE] = {"name": node.name or node.op_type, "num_outputs": len(node.outputs)}
        if node.op_type == "Attention":
            attributes[WINDOW] = self.windows.get(str(node.name), 0)
        try:
            self._bind(node, self.builder.normalize(self._convert(node, inputs, attributes, where)))
        except CompileError as error:
            raise CompileError(str(error) if where in str(error) else f"{where}: {error}") from error
        except Exception as error:  # TVM's converters raise whatever their assertions are
            raise CompileError(
                f"{where}: TVM cannot import it: {str(error).strip().splitlines()[-1]}"
            ) from error

    def _convert(self, node: ir.Node, inputs: Inputs, attributes: Attributes, where: str) -> Any:
        domain = "" if node.domain == "ai.onnx" else node.domain
        converter = self.converters.get((domain, node.op_type))
        if converter is not None:
            return converter(self.builder, inputs, attributes)
        if domain or node.op_type not in self.stock:
            known = ", ".join(
                sorted(name for known_domain, name in self.converters if known_domain == EDGEBIT_DOMAIN)
            )
            raise CompileError(
                f"{where}: unknown operator; known are the standard operators TVM imports (write it with "
                f"others) and {EDGEBIT_DOMAIN}: {known}"
            )
        return self.stock[node.op_type].get_converter(self.opset)(
            self.builder, inputs, attributes, [self.values, {}]
        )

    def _bind(self, node: ir.Node, result: Any) -> None:
        """Bind the node's outputs to variables that carry its name, so that later passes can name the node in
        errors.
        """
        name = identifier(node.name or node.op_type)
        made = len(result.ty.fields) if isinstance(result.ty, relax.TupleType) else 1
        more = [str(output.name) for output in node.outputs[made:] if output.name]
        if more:
            raise CompileError(f"its output {more[0]} has no kernel: leave it out of the model")
        if isinstance(result.ty, relax.TupleType):
            whole = self.builder.emit(result, name_hint=f"{name}_outputs")
            for index, output in enumerate(node.outputs):
                item = self.builder.emit(whole[index], name_hint=identifier(output.name))
                self.values[str(output.name)] = item
        elif isinstance(result, tvm.ir.GenericConst):
            self.values[str(node.outputs[0].name)] = result
        else:
            self.values[str(node.outputs[0].name)] = self.builder.emit(result, name_hint=name)


def _is_parameter(tensor: ir.TensorProtocol) -> bool:
    """Weights are parameters; integers and scalars steer the graph and are constants."""
    return (
        tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL) and len(tensor.shape) > 0
    )


def _dtype(tensor: ir.TensorProtocol) -> str:
    return str(np.dtype(tensor.dtype.numpy()).name)


def _attribute(attribute: ir.Attr) -> Any:
    """A float attribute is float32 in the file: rounded here, a graph never written gives the same."""
    value = attribute.value
    if attribute.type == ir.AttributeType.FLOAT:
        return float(np.float32(value))
    return value.encode() if isinstance(value, str) else value
