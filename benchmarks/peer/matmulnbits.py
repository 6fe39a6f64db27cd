"""An exported graph with its ternary operators replaced by onnxruntime's own ``MatMulNBits`` of two bits.

Not exact, and not meant to be: activations are not quantised to the model's int8 codes. It is what a user of
onnxruntime would take for speed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgebit.graph.operators import DOMAIN

BLOCK = 128  # weights of a row that share a scale: here all share one, the kernel wants blocks
FUSED = "com.microsoft"
INT8_ACTIVATIONS = 4  # accuracy_level: onnxruntime quantises activations itself, block by block
ZERO_POINT = 0x55  # 1 in every two bits: code = value + 1, as in the exported weights


def write_matmulnbits(graph: Path, output: Path) -> None:
    """Write `output`, its weights beside it, from an exported `graph`."""
    model = ir.load(graph)
    for node in list(model.graph):
        if (node.domain, node.op_type) == (DOMAIN, "BitLinear"):
            _replace(model.graph, node, *_inputs(node))
        elif (node.domain, node.op_type) == (DOMAIN, "DequantizeAccumulator"):
            accumulators, _, scale = _inputs(node)
            codes, weight = _inputs(accumulators.producer())
            _replace(model.graph, node, _inputs(codes.producer())[0], weight, scale)
    for node in reversed(list(model.graph)):
        if node.domain == DOMAIN:
            model.graph.remove(node, safe=True)
    for name, value in list(model.graph.initializers.items()):
        if not value.uses():
            del model.graph.initializers[name]
    model.functions.clear()
    model.opset_imports.pop(DOMAIN)
    model.graph.opset_imports[FUSED] = 1
    ir.save(model, output, external_data=f"{output.name}.data")


def _inputs(node: ir.Node | None) -> list[ir.Value]:
    """The inputs of a node of an exported graph, where none is optional."""
    assert node
    return [value for value in node.inputs if value]


def _replace(graph: ir.Graph, node: ir.Node, x: ir.Value, weight: ir.Value, scale: ir.Value) -> None:
    """Put y = MatMulNBits(x, weight) in the place of `node`; the exported bytes are its layout already."""
    assert weight.const_value and scale.const_value
    codes = weight.const_value.numpy()
    rows, columns = codes.shape[0], 4 * codes.shape[1]
    blocks = columns // BLOCK
    packed = codes.reshape(rows, blocks, BLOCK // 4)
    scales = np.full((rows, blocks), scale.const_value.numpy().item(), np.float32)
    zeros = np.full((rows, -(-blocks // 4)), ZERO_POINT, np.uint8)
    name = weight.name
    inputs = [x]
    for suffix, array in (("packed", packed), ("scales", scales), ("zeros", zeros)):
        value = ir.Value(name=f"{name}.{suffix}", const_value=ir.tensor(array, name=f"{name}.{suffix}"))
        graph.register_initializer(value)
        inputs.append(value)
    attributes = {"K": columns, "N": rows, "bits": 2, "block_size": BLOCK, "accuracy_level": INT8_ACTIVATIONS}
    fused = ir.node("MatMulNBits", inputs, attributes, domain=FUSED, name=f"{name}.MatMulNBits")
    graph.insert_after(node, fused)
    node.outputs[0].replace_all_uses_with(fused.outputs[0], replace_graph_outputs=True)
    fused.outputs[0].name = node.outputs[0].name
    graph.remove(node, safe=True)
