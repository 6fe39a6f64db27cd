"""The graph with ``com.microsoft::MatMulNBits`` of two bits in the place of the ternary operators.

For users of onnxruntime who want its speed. The weights are the same trits with the same multiplier. The
activations keep the model's own quantiser, codes divided by their scale again: a model trained with it is
another one without. What onnxruntime does with these floats is not exact: `accuracy_level` 4 quantises them
a second time, a block of a row at a time, and sums in an order of its own.

    codes, s = ai.edgebit::QuantizeActivation(x)      one for all matrices that read x, as before
    x'       = Cast(codes, float) / s
    y        = MatMulNBits(x', B, scales, zero points)     B u8 [N, blocks, block/4], code = trit + 1

Models of float activations have x itself in the place of x'.

Source: the ContribOperators document of onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.graph.model import OnnxModel
from edgebit.graph.operators import DOMAIN, functions
from edgebit.graph.tensors import StreamedTensor, byte_blocks, constant, small_tensor

MICROSOFT = "com.microsoft"
OPERATOR = "MatMulNBits"
PACKED = ".packed"  # behind the name of a matrix
_BLOCKS = (128, 64, 32, 16)  # weights of a row that share a scale, the first that divides what share one
_PADDED = 32  # of a row that none divides
_INT8_ACTIVATIONS = 4  # accuracy_level
_ONE = 0x55  # a zero point of 1 in every two bits, and code 1, trit 0, in every weight
_PER_BYTE = 4


def with_matmulnbits(model: OnnxModel) -> OnnxModel:
    """``model`` with its linears replaced (its graph is changed, not copied). Raises GraphError where none is
    ternary.
    """
    graph = model.ir.graph
    flavor = _Flavor(graph)
    for node in list(graph):
        if (node.domain, node.op_type) == (DOMAIN, "BitLinear"):
            flavor.replace_linear(node)
        elif (node.domain, node.op_type) == (DOMAIN, "DequantizeAccumulator"):
            flavor.replace_dequantized(node)
        elif (node.domain, node.op_type) == (DOMAIN, "TernaryMatMul"):
            flavor.replace(node, *_inputs(node))
    if not flavor.count:
        raise GraphError(f"model {model.metadata.name}: no ternary matrix that MatMulNBits could hold")
    for node in reversed(list(graph)):
        if node.domain == DOMAIN and not any(output.uses() for output in node.outputs):
            graph.remove(node, safe=True)
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
    graph.opset_imports[MICROSOFT] = 1
    kept = {node.op_type for node in graph if node.domain == DOMAIN}
    model.ir.functions.clear()
    for function in functions():
        if function.name in kept:
            model.ir.functions[function.identifier()] = function
    return model


class _Flavor:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.count = 0
        self._floats: dict[str, ir.Value] = {}

    def replace_linear(self, node: ir.Node) -> None:
        x, weight, scale = _inputs(node)
        name = f"{node.name}.quantize"
        codes, s = _like(x, f"{name}.codes", ir.DataType.INT8), _like(x, f"{name}.scale")
        s.shape = ir.Shape([*list(x.shape or ())[:-1], 1])
        quantizer = ir.node("QuantizeActivation", [x], domain=DOMAIN, outputs=[codes, s], name=name)
        self.graph.insert_before(node, quantizer)
        self.replace(node, self._dequantized(node, codes, s), weight, scale)

    def replace_dequantized(self, node: ir.Node) -> None:
        accumulator, s, scale = _inputs(node)
        codes, weight = _inputs(accumulator.producer())
        self.replace(node, self._dequantized(node, codes, s), weight, scale)

    def replace(self, node: ir.Node, x: ir.Value, weight: ir.Value, scale: ir.Value) -> None:
        if weight.const_value is None or scale.const_value is None:
            raise GraphError(f"node {node.name}: its weight is computed, expected an initializer")
        operands = _Operands(weight.const_value, scale.const_value)
        attributes = {
            "K": operands.columns,
            "N": operands.rows,
            "bits": 2,
            "block_size": operands.block,
            "accuracy_level": _INT8_ACTIVATIONS,
        }
        inputs = [x, *(self._initializer(tensor) for tensor in operands.tensors())]
        output = _like(node.outputs[0], str(node.outputs[0].name))
        fused = ir.node(
            OPERATOR, inputs, attributes, domain=MICROSOFT, outputs=[output], name=f"{node.name}.{OPERATOR}"
        )
        self.graph.insert_before(node, fused)
        node.outputs[0].replace_all_uses_with(output, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)
        self.count += 1

    def _dequantized(self, before: ir.Node, codes: ir.Value, s: ir.Value) -> ir.Value:
        """Codes as the floats they stand for; once for all that read them."""
        name = str(codes.name)
        if name not in self._floats:
            wide, x = _like(codes, f"{name}.f32"), _like(codes, f"{name}.dequantized")
            self.graph.insert_before(
                before,
                [
                    ir.node("Cast", [codes], {"to": ir.DataType.FLOAT}, outputs=[wide], name=str(wide.name)),
                    ir.node("Div", [wide, s], outputs=[x], name=str(x.name)),
                ],
            )
            self._floats[name] = x
        return self._floats[name]

    def _initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        name = str(tensor.name)
        if name not in self.graph.initializers:
            self.graph.register_initializer(constant(tensor))
        return self.graph.initializers[name]


class _Operands:
    """What a ternary matrix u8 [N, K/4] with multipliers [1], [N], [N, 1] or [N, groups] is for the node."""

    def __init__(self, weight: ir.TensorProtocol, scale: ir.TensorProtocol) -> None:
        self.weight, self.scale = weight, scale
        self.rows, row_bytes = weight.shape.numpy()
        self.columns = row_bytes * _PER_BYTE
        self.groups = scale.shape.numpy()[1] if len(scale.shape) == 2 else 1
        group = self.columns // self.groups
        self.block = next((block for block in _BLOCKS if group % block == 0), _PADDED)
        if self.groups > 1 and group % self.block:
            raise GraphError(
                f"tensor {scale.name}: groups of {group} columns, {OPERATOR} takes multiples of 16"
            )
        self.blocks = -(-self.columns // self.block)
        self.padding = self.blocks * self.block // _PER_BYTE - row_bytes

    def tensors(self) -> Iterator[ir.TensorProtocol]:
        name = str(self.weight.name)
        shape = (self.rows, self.blocks, self.block // _PER_BYTE)
        yield StreamedTensor(f"{name}{PACKED}", ir.DataType.UINT8, shape, self._packed, self._whole)
        counts = (self.rows * self.blocks,)
        yield small_tensor(f"{name}.scales", counts, partial(self._scales, counts))
        zeros = np.full((self.rows * -(-self.blocks // _PER_BYTE),), _ONE, np.uint8)
        yield ir.Tensor(zeros, name=f"{name}.zero_points")

    def _scales(self, counts: tuple[int, ...]) -> npt.NDArray[np.float32]:
        every = np.repeat(self.scale.numpy().reshape(-1, self.groups), -(-self.blocks // self.groups), axis=1)
        return np.broadcast_to(every, (self.rows, self.blocks)).reshape(counts)

    def _packed(self) -> Iterator[npt.NDArray[np.uint8]]:
        for block in byte_blocks(self.weight):
            yield np.pad(block, ((0, 0), (0, self.padding)), constant_values=_ONE) if self.padding else block

    def _whole(self) -> npt.NDArray[np.uint8]:
        return np.concatenate(list(self._packed())).reshape(self.rows, self.blocks, -1)


def _like(value: ir.Value, name: str, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(list(value.shape or ())))


def _inputs(node: ir.Node | None) -> list[ir.Value]:
    """The inputs of a node of ours, where none is optional."""
    return [value for value in (() if node is None else node.inputs) if value is not None]
