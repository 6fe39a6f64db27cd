"""The ONNX graph in onnxruntime and the compiled bundle agree layer by layer: codes and accumulators exactly.

The bundle runs one prefill pass with the arena kept after every step. Each quantiser of the graph is then
run in onnxruntime on the very activations the bundle had, and each matmul on the very codes it had; the
kernel's output must be the canonical epilogue of onnxruntime's accumulators, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from edgebit.graph.operators import DOMAIN, DOMAIN_VERSION, OPSET_VERSION
from tests.end_to_end.bundles import Array, Snapshots, trace_prefill
from tests.end_to_end.conftest import TinyModel
from tests.schedules import canonical

TOKENS = [5, 17, 260, 3, 99, 42, 7]
FLIPS = 2  # codes that one ulp of onnxruntime's own norm may carry over a rounding boundary (SPEC 6)


def test_codes_and_accumulators_are_those_of_onnxruntime(tiny: TinyModel) -> None:
    snapshots = trace_prefill(tiny.bundle, tiny.compiled, TOKENS)
    graph = tiny.graph.ir.graph
    pairs = list(zip(linears_of_graph(graph), linears_of_bundle(snapshots), strict=True))
    assert len(pairs) == 4 * tiny.compiled.plan.num_layers
    flips = 0
    for node, step in pairs:
        expected = onnx_codes(graph, node, step.x)
        wrong = step.codes[:, : expected.shape[1]] != expected
        assert np.abs(step.codes[:, : expected.shape[1]].astype(int) - expected).max() <= 1
        assert not step.codes[:, expected.shape[1] :].any()
        flips += int(wrong.sum())
        accumulators = [onnx_accumulators(graph, name, step.codes) for name in node.projections]
        outputs = [
            dequantized(graph, name, acc, step.scales)
            for name, acc in zip(node.projections, accumulators, strict=True)
        ]
        result = epilogue(step, outputs)
        np.testing.assert_array_equal(
            step.after[:, : result.shape[1]].view(np.uint32), result.view(np.uint32)
        )
    assert flips <= FLIPS


@dataclass(frozen=True)
class GraphLinear:
    """A quantiser of the graph: the norm before it, if any, and the projections that take its codes."""

    norm: ir.Node | None
    projections: list[str]


@dataclass(frozen=True)
class BundleLinear:
    """A ternary step: what its quantiser read and wrote, and its output before and after."""

    kernel: str
    x: Array
    codes: Array
    scales: Array
    before: Array
    after: Array


def linears_of_graph(graph: ir.Graph) -> Iterator[GraphLinear]:
    for node in graph:
        if node.op_type in ("QuantizeActivation", "BitLinear"):
            assert node.inputs[0] is not None
            producer = node.inputs[0].producer()
            norm = producer if producer is not None and producer.op_type == "RMSNormalization" else None
            users = [node] if node.op_type == "BitLinear" else [use.node for use in node.outputs[0].uses()]
            yield GraphLinear(
                norm, [str(user.inputs[1].name) for user in users if user.inputs[1] is not None]
            )


def linears_of_bundle(snapshots: Snapshots) -> Iterator[BundleLinear]:
    quantizer = -1
    for i, step in enumerate(snapshots.steps):
        kernel = step.kernel.name
        if kernel in ("quantize", "rmsnorm_quantize"):
            quantizer = i
        if not kernel.startswith("ternary_"):
            continue
        source = snapshots.steps[quantizer].buffers[0]
        _, codes, _, scales, _, out = step.buffers
        width = source.unit_stride // 4
        yield BundleLinear(
            kernel,
            snapshots.read(quantizer - 1, source, np.float32, width),
            snapshots.read(quantizer, codes, np.int8, width),
            snapshots.read(quantizer, scales, np.float32, 1),
            snapshots.read(i - 1, out, np.float32, step.scalars[3].value),
            snapshots.read(i, out, np.float32, step.scalars[3].value),
        )


def onnx_codes(graph: ir.Graph, linear: GraphLinear, x: Array) -> Array:
    """int8 codes of the norm and the quantiser in onnxruntime."""
    inputs = {"x": x}
    nodes = [onnx.helper.make_node("QuantizeActivation", ["y"], ["codes", "scale"], domain=DOMAIN)]
    if linear.norm is not None:
        weight = values(graph, str(linear.norm.inputs[1].name))  # type: ignore[union-attr]
        inputs = {"x": x[:, : weight.size], "weight": weight}
        eps = linear.norm.attributes["epsilon"].as_float()
        nodes.insert(
            0, onnx.helper.make_node("RMSNormalization", ["x", "weight"], ["y"], axis=-1, epsilon=eps)
        )
    else:
        nodes.insert(0, onnx.helper.make_node("Identity", ["x"], ["y"]))
    return run(nodes, inputs, "codes", onnx.TensorProto.INT8)


def onnx_accumulators(graph: ir.Graph, weight: str, codes: Array) -> Array:
    packed = values(graph, weight)
    node = onnx.helper.make_node("TernaryMatMulInteger", ["q", "w"], ["acc"], domain=DOMAIN)
    feeds = {"q": codes[:, : packed.shape[1] * 4], "w": packed}
    return run([node], feeds, "acc", onnx.TensorProto.INT32)


def dequantized(graph: ir.Graph, weight: str, accumulators: Array, scales: Array) -> Array:
    return accumulators.astype(np.float32) * (values(graph, f"{weight}_scale") / scales)


def epilogue(step: BundleLinear, outputs: list[Array]) -> Array:
    """What the kernel makes of dequantised accumulators, in the canonical order (NUMERICS.md)."""
    if step.kernel.endswith("store"):
        return np.concatenate(outputs, axis=1)
    if step.kernel.endswith("residual"):
        return step.before[:, : outputs[0].shape[1]] + outputs[0]
    gate, up = outputs
    if step.kernel.endswith("relu2_mul"):
        relu = np.maximum(gate, np.float32(0))
        return (relu * relu) * up
    e = canonical.exp(-np.abs(gate))
    one = np.float32(1)
    sigmoid = np.where(gate >= 0, one / (one + e), e / (one + e))
    return np.asarray((gate * sigmoid) * up)


def values(graph: ir.Graph, name: str) -> Array:
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy())


_FUNCTIONS: list[onnx.FunctionProto] = []


def run(nodes: list[onnx.NodeProto], feeds: dict[str, Array], output: str, dtype: int) -> Array:
    """Run nodes of the standard domain and of ai.edgebit in plain onnxruntime."""
    if not _FUNCTIONS:
        from edgebit.graph.operators import functions

        _FUNCTIONS.extend(ir.serde.serialize_function(function) for function in functions())
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    outputs = [onnx.helper.make_tensor_value_info(output, dtype, None)]
    graph = onnx.helper.make_graph(nodes, "part", inputs, outputs)
    opsets = [onnx.helper.make_opsetid("", OPSET_VERSION), onnx.helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, functions=_FUNCTIONS, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], feeds)[0])
