"""The ternary linears of a layer: quantiser, product, multiplier, bias, and a norm of their own."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.graph.assembler import BATCH, FLOAT, SEQUENCE, Output
from edgebit.graph.elements import Elements, dims
from edgebit.graph.operators import DOMAIN
from edgebit.graph.tensors import StreamedTensor, small_tensor
from edgebit.model import TernaryTensor


class Projections:
    """Nodes as `edgebit.graph.builder` lists them; a linear is named "model.layers.0.self_attn.q_proj"."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self._graph = elements.graph
        self._checkpoint = elements.checkpoint
        self._config = elements.config

    def several(self, h: ir.Value, module: str, names: tuple[str, ...]) -> list[ir.Value]:
        """Linears of one input, which is quantised once, unless each has a norm of its own or floats stay
        floats.
        """
        if self._config.projection_norm is not None or self._config.activation_quantization == "none":
            return [self.one(h, f"{module}.{name}") for name in names]
        quantized = self._quantize(h, f"{module}.quantize")
        return [self._product(quantized, f"{module}.{name}") for name in names]

    def one(self, x: ir.Value, name: str) -> ir.Value:
        """A linear with everything before and behind it."""
        own = self._config.projection_norm
        if own is not None:
            x = self._elements.norm(x, f"{name}.{own.name}", own.eps)
        linear, weight, weight_scale, shape = self._ternary(name)
        floats = self._config.activation_quantization == "none"
        operator = "TernaryMatMul" if floats else "BitLinear"
        y = self._graph.edgebit(operator, [x, weight, weight_scale], linear, FLOAT, shape)
        return self._biased(y, name)

    def _quantize(self, x: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        outputs: list[Output] = [
            (f"{name}.codes", ir.DataType.INT8, dims(x)),
            (f"{name}.scale", FLOAT, [BATCH, SEQUENCE, 1]),
        ]
        codes, scale = self._graph.nodes("QuantizeActivation", [x], name, outputs, domain=DOMAIN)
        return codes, scale

    def _product(self, quantized: tuple[ir.Value, ir.Value], name: str) -> ir.Value:
        """A linear of an input that is quantised once for several of them."""
        codes, scale = quantized
        linear, weight, weight_scale, shape = self._ternary(name)
        matmul = f"{name}.matmul"
        acc = self._graph.edgebit("TernaryMatMulInteger", [codes, weight], matmul, ir.DataType.INT32, shape)
        y = self._graph.edgebit("DequantizeAccumulator", [acc, scale, weight_scale], linear, FLOAT, shape)
        return self._biased(y, name)

    def _biased(self, y: ir.Value, name: str) -> ir.Value:
        if name.split(".", 3)[-1] not in self._config.biased:
            return y
        read = partial(self._checkpoint.bias, name)
        return self._elements.add(y, self._elements.vector(f"{name}.bias", int(dims(y)[-1]), read), name)

    def _ternary(self, name: str) -> tuple[str, ir.Value, ir.Value, list[int | str]]:
        """What a linear's node is called, weight, weight scale, and the shape of its output."""
        trits = self._checkpoint.projection(name)
        rows, columns = trits.shape
        weight = StreamedTensor(
            f"{name}.weight", ir.DataType.UINT8, (rows, columns // 4), trits.blocks, trits.packed
        )
        scale = small_tensor(f"{name}.weight_scale", self._scales_shape(trits), lambda: trits.scales)
        linear = f"{name}.product" if name.split(".", 3)[-1] in self._config.biased else name
        return (
            linear,
            self._graph.initializer(weight),
            self._graph.initializer(scale),
            [BATCH, SEQUENCE, rows],
        )

    def _scales_shape(self, trits: TernaryTensor) -> tuple[int, ...]:
        """As the operator of the model's projections takes them: [N] where each row of an integer accumulator
        has its own.
        """
        shape = trits.scales_shape
        if self._config.activation_quantization == "none" or shape == (1,):
            return shape
        if shape[1] > 1:
            raise GraphError(
                f"{self._checkpoint.path}: tensor {trits.name} has scales of groups of "
                f"{trits.shape[1] // shape[1]} columns; int8 activations with scales of groups are not "
                "supported, --activation-quantization none is"
            )
        return shape[:1]
