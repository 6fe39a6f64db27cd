"""``com.microsoft::MatMulNBits`` of two bits recognised as the ternary operators it computes.

Graphs of others, and exports of ``--flavor matmulnbits``. Rules, for y = MatMulNBits(x, B, …) whose weights
are ternary (`two_bits`):

1. x = Cast(codes) / s with codes, s = QuantizeActivation(…): y = DequantizeAccumulator(TernaryMatMulInteger(
   codes, trits), s, multipliers), the integers the model was trained with;
2. of any other x: y = TernaryMatMul(x, trits, multipliers), the floats that onnxruntime computes with;
3. a bias becomes an Add behind it.

Multipliers are one for the matrix, one a row, or those of the blocks, the fewest that say the same: a block
of zeros has no say.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.graph.matmulnbits import MICROSOFT, OPERATOR, PACKED
from edgebit.graph.operators import DOMAIN, DOMAIN_VERSION, functions
from edgebit.graph.tensors import StreamedTensor, constant
from edgebit.graph.two_bits import Floats, TwoBits

_BITS = 2
_PER_BYTE = 4
_DEFAULT_ZERO = 2  # where a node has no zero points
_INPUTS = ("A", "B", "scales", "zero_points", "g_idx", "bias")


def recognize(model: ir.Model, source: str) -> None:
    """Replace the nodes in place. Raises GraphError naming ``source`` and the node that is not ternary or
    that edgebit has no kernel for.
    """
    nodes = [node for node in model.graph if (node.domain, node.op_type) == (MICROSOFT, OPERATOR)]
    if not nodes:
        return
    for node in nodes:
        _Recognition(
            model.graph, node, f"{source}: node {node.name or node.outputs[0].name} ({OPERATOR})"
        ).run()
    _remove_unused(model.graph)
    if not any(node.domain == MICROSOFT for node in model.graph):
        model.graph.opset_imports.pop(MICROSOFT, None)
    model.graph.opset_imports[DOMAIN] = DOMAIN_VERSION
    for function in functions():
        model.functions[function.identifier()] = function


class _Recognition:
    def __init__(self, graph: ir.Graph, node: ir.Node, where: str) -> None:
        self.graph, self.node, self.where = graph, node, where
        self.inputs = dict(zip(_INPUTS, node.inputs, strict=False))

    def run(self) -> None:
        x = self.inputs["A"]
        if x is None:
            raise self.error("has no input A")
        name = str(self.node.outputs[0].name)
        weights = self.ternary_weights()
        multipliers = self.multipliers(weights)
        weight = self.initializer(self.trits(weights))
        quantized = _quantized(x)
        if quantized is None:
            result = self.insert("TernaryMatMul", [x, weight, self.scale(multipliers)], f"{name}.product")
        else:
            codes, s = quantized
            if multipliers.ndim == 2 and multipliers.shape[1] > 1:
                raise self.error(
                    f"has multipliers from {multipliers.min():.6g} to {multipliers.max():.6g} by blocks; the "
                    "kernels of quantised activations take one for a matrix or one a row"
                )
            accumulator = self.insert(
                "TernaryMatMulInteger", [codes, weight], f"{name}.matmul", ir.DataType.INT32
            )
            operands = [accumulator, s, self.scale(multipliers.reshape(-1))]
            result = self.insert("DequantizeAccumulator", operands, f"{name}.dequantized")
        bias = self.inputs.get("bias")
        if bias is not None:
            result = self.insert("Add", [result, bias], f"{name}.biased", domain="")
        self.node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
        self.graph.remove(self.node, safe=True)
        last = result.producer()
        assert last is not None
        result.name = last.name = name

    def insert(
        self,
        op: str,
        inputs: list[ir.Value],
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
        domain: str = DOMAIN,
    ) -> ir.Value:
        """The output of a new node, of the shape of the one that is replaced."""
        output = ir.Value(name=name, type=ir.TensorType(dtype), shape=self.node.outputs[0].shape)
        self.graph.insert_before(self.node, ir.node(op, inputs, domain=domain, outputs=[output], name=name))
        return output

    def trits(self, weights: TwoBits) -> StreamedTensor:
        shape = (len(weights.scales), weights.columns // _PER_BYTE)
        name = self.name if self.name != self.tensor("B").name else f"{self.name}.trits"
        return StreamedTensor(
            name, ir.DataType.UINT8, shape, weights.trits, lambda: np.concatenate(list(weights.trits()))
        )

    def scale(self, multipliers: Floats) -> ir.Value:
        return self.initializer(ir.Tensor(multipliers, name=f"{self.name}_scale"))

    @property
    def name(self) -> str:
        """Names of our own exports become those of the graph that was exported."""
        return str(self.tensor("B").name).removesuffix(PACKED)

    def multipliers(self, weights: TwoBits) -> Floats:
        """float32 [1], [N, 1] or [N, blocks]. Raises GraphError where a block is not ternary."""
        of_blocks, foreign = weights.multipliers()
        if foreign.any():
            row, block = np.argwhere(foreign)[0]
            found = ", ".join(f"{value:.6g}" for value in weights.values(row, block))
            raise self.error(
                f"is not ternary: {foreign.sum()} of {foreign.size} blocks hold more than 0 and one value of "
                f"both signs (row {row}, block {block}: {found})"
            )
        of_rows: Floats = of_blocks.max(axis=1, keepdims=True)
        if not ((of_blocks == 0) | (of_blocks == of_rows)).all():
            if weights.columns % of_blocks.shape[1]:
                raise self.error(
                    f"has multipliers of blocks that do not divide its {weights.columns} columns"
                )
            return of_blocks
        largest = of_rows.max()
        if ((of_rows == 0) | (of_rows == largest)).all():
            return np.array([largest or 1], np.float32)
        return of_rows

    def ternary_weights(self) -> TwoBits:
        rows, columns, block = (self.attribute(name) for name in ("N", "K", "block_size"))
        if self.attribute("bits", 4) != _BITS:
            raise self.error(f"has weights of {self.attribute('bits', 4)} bits, expected 2")
        if columns % _PER_BYTE or block < 16 or block & (block - 1):
            raise self.error(
                f"has {columns} columns in blocks of {block}, expected a multiple of 4 and 16, 32, …"
            )
        if self.inputs.get("g_idx") is not None:
            raise self.error("has its columns in another order (g_idx), which is not supported")
        blocks = -(-columns // block)
        packed = self.tensor("B")
        if packed.dtype != ir.DataType.UINT8 or packed.size != rows * blocks * block // _PER_BYTE:
            raise self.error(f"has {packed.size} bytes for {rows} rows of {blocks} blocks of {block}")
        scales = self.numbers("scales", (rows, blocks)).astype(np.float32)
        if not np.isfinite(scales).all():
            raise self.error("has a scale that is no finite number")
        shape = (rows, blocks, block // _PER_BYTE)
        return TwoBits(lambda: packed.numpy().reshape(shape), scales, self.zeros(rows, blocks), columns)

    def zeros(self, rows: int, blocks: int) -> npt.NDArray[np.uint8]:
        if self.inputs.get("zero_points") is None:
            return np.full((rows, blocks), _DEFAULT_ZERO, np.uint8)
        if self.tensor("zero_points").dtype == ir.DataType.UINT8:
            stored = self.numbers("zero_points", (rows, -(-blocks // _PER_BYTE))).astype(np.uint8)
            codes = stored[..., None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3
            return np.asarray(codes.reshape(rows, -1)[:, :blocks], np.uint8)
        floats = self.numbers("zero_points", (rows, blocks))
        if not np.isin(floats, (0, 1, 2, 3)).all():
            raise self.error("is not ternary: it has a zero point between two codes, so no weight is 0")
        return floats.astype(np.uint8)

    def numbers(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.generic]:
        tensor = self.tensor(name)
        if tensor.size != shape[0] * shape[1]:
            raise self.error(f"has {tensor.size} {name.replace('_', ' ')}, expected {list(shape)}")
        return np.asarray(tensor.numpy()).reshape(shape)

    def tensor(self, name: str) -> ir.TensorProtocol:
        value = self.inputs.get(name)
        if value is None or value.const_value is None:
            raise self.error(f"has no {name} in the file")
        return value.const_value

    def attribute(self, name: str, default: int = 0) -> int:
        attribute = self.node.attributes.get(name)
        value = default if attribute is None else attribute.value
        if not isinstance(value, int) or value < 1:
            raise self.error(f"has {name} {value!r}, expected a positive number")
        return value

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        name = str(tensor.name)
        if name not in self.graph.initializers:
            self.graph.register_initializer(constant(tensor))
        return self.graph.initializers[name]

    def error(self, message: str) -> GraphError:
        return GraphError(f"{self.where} {message}")


def _quantized(x: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """Codes and scale that x is the quotient of."""
    division = _producer(x, "", "Div")
    cast = None if division is None else _producer(division.inputs[0], "", "Cast")
    if division is None or cast is None:
        return None
    codes, s = cast.inputs[0], division.inputs[1]
    quantizer = _producer(codes, DOMAIN, "QuantizeActivation")
    if quantizer is None or codes is None or s is None or quantizer.outputs[1] is not s:
        return None
    return codes, s


def _producer(value: ir.Value | None, domain: str, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and (node.domain, node.op_type) == (domain, op_type) else None


def _remove_unused(graph: ir.Graph) -> None:
    outputs = set(graph.outputs)
    for node in reversed(list(graph)):
        if not any(output.uses() or output in outputs for output in node.outputs):
            graph.remove(node, safe=True)
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
