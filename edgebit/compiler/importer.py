"""ONNX → Relax, by (domain, operator), without touching the weights.

Operators of the domain ``ai.edgebit`` and those of opset 23 that TVM's converters lack become operators of
`operators.py`; all others go through TVM's own converter of that operator. Floating-point and packed
initializers become trailing parameters of ``main``: their bytes stay where they are until `weights.py`
streams them. The batch dimension is specialised to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.frontend.onnx import onnx_frontend

from edgebit.compiler.operators import call
from edgebit.errors import CompileError

EDGEBIT_DOMAIN = "ai.edgebit"
_BATCH_DIMENSION = "batch_size"
_WINDOW = "edgebit_window"  # what the mask of an Attention node says
NODE = "tvm_custom"  # the attribute under which TVM's converters look for the node's name

Inputs = list[Any]
Attributes = dict[str, Any]
Converter = Callable[[relax.BlockBuilder, Inputs, Attributes], Any]


@dataclass(frozen=True)
class ImportedGraph:
    """``module["main"]`` takes the graph inputs, then the weights; ``parameters``: initializer name by Relax
    variable name.
    """

    module: tvm.IRModule
    parameters: dict[str, str]


def _quantize_activation(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("quantize_activation", [inputs[0]])


def _ternary_matmul(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("ternary_matmul", inputs[:2])


def _dequantize(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("dequantize", inputs[:3])


def _bit_linear(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x, weight, weight_scale = inputs[:3]
    name = attributes[NODE]["name"]
    quantized = builder.emit(call("quantize_activation", [x]), name_hint=_identifier(f"{name}.quantize"))
    codes, scale = builder.emit(quantized[0]), builder.emit(quantized[1])
    accumulator = builder.emit(call("ternary_matmul", [codes, weight]))
    return call("dequantize", [accumulator, scale, weight_scale])


def _ternary_matmul_of_floats(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("float_linear", inputs[:3])


def _gather(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Rows of a table. TVM's converter would wrap negative indices; the runtime refuses such tokens."""
    if attributes.get("axis", 0) != 0 or len(inputs[0].ty.shape.values) != 2:
        raise CompileError("Gather other than rows of a matrix is not supported")
    return relax.op.take(inputs[0], inputs[1], axis=0)


def _rms_normalization(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    if attributes.get("axis", -1) not in (-1, len(inputs[0].ty.shape.values) - 1):
        raise CompileError(
            f"RMSNormalization over axis {attributes['axis']}: only the last axis is supported"
        )
    x, weight = inputs[:2]
    if list(weight.ty.shape.values) != [x.ty.shape.values[-1]]:
        raise CompileError(
            f"RMSNormalization of {x.ty.shape.values[-1]} features has a weight of {weight.ty.shape.values}"
        )
    return call("rms_norm", [x, weight], eps=_positive(attributes, "epsilon", 1e-5))


def _reshape(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    """Into a constant shape of ONNX, where 0 keeps a dimension and −1 is what is left."""
    x, shape = inputs
    if not isinstance(shape, tvm.ir.GenericConst):
        raise CompileError("Reshape into a shape that is computed is not supported")
    wanted = [int(size) for size in shape.value.numpy().reshape(-1)]
    return relax.op.reshape(x, [x.ty.shape.values[i] if size == 0 else size for i, size in enumerate(wanted)])


def _rotary_embedding(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    if len(inputs) < 4 or inputs[3] is None:
        raise CompileError("RotaryEmbedding without position_ids is not supported")
    if attributes.get("interleaved", 0):
        raise CompileError("RotaryEmbedding with interleaved=1 is not supported: export with halves (NeoX)")
    if attributes.get("rotary_embedding_dim", 0):
        raise CompileError("RotaryEmbedding with a partial rotary_embedding_dim is not supported")
    heads = int(attributes.get("num_heads", 0))
    if heads < 1 or int(inputs[0].ty.shape.values[-1]) % heads:
        raise CompileError(
            f"RotaryEmbedding with num_heads={heads} of {inputs[0].ty.shape.values[-1]} features"
        )
    return call("rotary_embedding", inputs[:4], num_heads=heads)


def _attention(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    query, key, value, mask, past_key, past_value = [*inputs, None, None, None][:6]
    if mask is None or (past_key is None) != (past_value is None):
        raise CompileError(
            "Attention needs query, key, value, attn_mask, and past_key with past_value or none"
        )
    for unsupported in ("softcap", "is_causal", "qk_matmul_output_mode"):
        if attributes.get(unsupported, 0):
            raise CompileError(f"Attention with {unsupported}={attributes[unsupported]} is not supported")
    query_heads = int(attributes["q_num_heads"])
    kv_heads = int(attributes["kv_num_heads"])
    head_dim = int(query.ty.shape.values[-1]) // query_heads
    if past_key is None:
        past_key = past_value = relax.const(np.empty((1, kv_heads, 0, head_dim), np.float32))
    return call(
        "attention",
        [query, key, value, mask, past_key, past_value],
        num_heads=query_heads,
        num_kv_heads=kv_heads,
        scale=_positive(attributes, "scale", head_dim**-0.5),
        window=int(attributes.get(_WINDOW, 0)),
    )


def _positive(attributes: Attributes, name: str, default: float) -> float:
    value = float(attributes.get(name, default))
    if not 0 < value < float("inf"):
        raise CompileError(f"{name} is {value}, expected a positive number")
    return value


def _pool_last(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("pool_last", inputs[:2])


def _pool_mean(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("pool_mean", inputs[:2])


def _normalize(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("normalize", inputs[:1])


Converters = Mapping[tuple[str, str], Converter]

CONVERTERS: Converters = {
    (EDGEBIT_DOMAIN, "QuantizeActivation"): _quantize_activation,
    (EDGEBIT_DOMAIN, "TernaryMatMulInteger"): _ternary_matmul,
    (EDGEBIT_DOMAIN, "DequantizeAccumulator"): _dequantize,
    (EDGEBIT_DOMAIN, "BitLinear"): _bit_linear,
    (EDGEBIT_DOMAIN, "PoolLast"): _pool_last,
    (EDGEBIT_DOMAIN, "PoolMean"): _pool_mean,
    (EDGEBIT_DOMAIN, "Normalize"): _normalize,
    (EDGEBIT_DOMAIN, "TernaryMatMul"): _ternary_matmul_of_floats,
    ("", "Gather"): _gather,
    ("", "Reshape"): _reshape,
    ("", "RMSNormalization"): _rms_normalization,
    ("", "RotaryEmbedding"): _rotary_embedding,
    ("", "Attention"): _attention,
}


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
        inputs = {_identifier(value.name): value for value in self.graph.inputs}
        variables = [self._input(name, value) for name, value in inputs.items()]
        parameters: dict[str, str] = {}
        for name, value in self.graph.initializers.items():
            tensor = value.const_value
            if tensor is None:
                raise CompileError(f"initializer {name}: it has no value")
            if _is_parameter(tensor) if self.parameters is None else name in self.parameters:
                variable = relax.Var(
                    _identifier(name), relax.TensorType(list(tensor.shape.numpy()), _dtype(tensor))
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
                self.dimensions[term] = tirx.Var(_identifier(term), "int64")
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
            attributes[_WINDOW] = self.windows.get(str(node.name), 0)
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
        name = _identifier(node.name or node.op_type)
        made = len(result.ty.fields) if isinstance(result.ty, relax.TupleType) else 1
        more = [str(output.name) for output in node.outputs[made:] if output.name]
        if more:
            raise CompileError(f"its output {more[0]} has no kernel: leave it out of the model")
        if isinstance(result.ty, relax.TupleType):
            whole = self.builder.emit(result, name_hint=f"{name}_outputs")
            for index, output in enumerate(node.outputs):
                item = self.builder.emit(whole[index], name_hint=_identifier(output.name))
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


def _identifier(name: str | None) -> str:
    """An ONNX name as a Relax identifier: dots and slashes become underscores."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in str(name))
