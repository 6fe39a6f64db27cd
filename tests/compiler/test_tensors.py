"""Graphs of tensors: what is planned, and what is refused with the node and the way out."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgebit.compiler.general import plan_graph
from edgebit.compiler.general.stages import MOST_BUFFERS
from edgebit.compiler.plan import Space
from edgebit.errors import CompileError
from edgebit.graph.operators import DOMAIN
from tests.tensor_graphs import float_layers, mlp, packed, row_scales, small_graph, taken_apart


def test_an_mlp_is_quantised_rows_ternary_products_and_loop_nests() -> None:
    plan, weights = plan_graph(ir.from_proto(mlp()))
    kernels = [step.kernel.name for step in plan.run]
    assert kernels.count("quantize") == 2 and kernels.count("ternary_gemm_store") == 2
    assert [str(tensor) for tensor in plan.inputs] == ["x: float32 [3, 20]"]
    assert [str(tensor) for tensor in plan.outputs] == ["y: float32 [3, 10]"]
    assert weights.size > 0 and plan.multiplications >= 3 * (20 * 48 + 48 * 10)


def test_ternary_products_of_floats_have_the_kernels_of_language_models() -> None:
    """Of one row; shared by outputs, and by rows where there are many."""
    plan, _ = plan_graph(ir.from_proto(float_layers()))
    products = [step for step in plan.run if step.kernel.name.startswith("ternary")]
    assert [step.kernel.name.split("_")[2] for step in products] == ["gemm", "gemm", "gemv"]
    assert [step.units.value for step in products] == [8, 48, 1]


def test_a_scale_for_each_output_has_the_kernels_of_language_models() -> None:
    plan, _ = plan_graph(ir.from_proto(row_scales()))
    products = [step for step in plan.run if step.kernel.name.startswith("ternary")]
    assert [step.kernel.name for step in products] == [
        "ternary_gemm_store_by_row",
        "ternary_gemm_store_by_row",
        "ternary_gemv_store_by_row",
    ]
    assert [step.units.value for step in products] == [4, 36, 3]  # blocks, rows, blocks


def test_rows_that_are_padded_share_no_memory_with_anything() -> None:
    """Their padding is zero from the start, and nobody writes it: not the step before, not the next run."""
    plan, _ = plan_graph(ir.from_proto(mlp()))
    padded = [step.buffers[1].offset for step in plan.run if step.label.endswith("pad_rows")]
    others = [
        buffer.offset
        for step in plan.run
        for buffer in step.buffers
        if buffer.space is Space.ARENA and buffer.offset not in padded
    ]
    assert len(set(padded)) == 2
    for start in padded:
        assert not any(start <= offset < start + 3 * 64 * 4 for offset in others)


def test_operators_that_tvm_lacks_are_taken_apart_as_the_standard_says() -> None:
    plan, _ = plan_graph(ir.from_proto(taken_apart()))
    assert [step.label for step in plan.run if step.label.endswith("softmax_exp")]
    assert [tensor.shape for tensor in plan.outputs] == [(2, 6, 64), (2, 2, 9, 16), (2, 2, 9, 16)]


def test_attention_without_a_mask_reads_no_mask() -> None:
    """The standard's body adds zeros [T, T] and asks of each row whether it is masked: neither is left."""
    x = ["x", "x", "x"]
    attention = helper.make_node("Attention", x, ["y"], q_num_heads=2, kv_num_heads=2)
    _, weights = plan_graph(ir.from_proto(small_graph([attention], {}, [1, 7, 32])))
    assert sum(section.size for section in weights.sections) <= 4  # the scale


@pytest.mark.parametrize(
    ("node", "initializers", "shape", "complaint"),
    [
        (
            helper.make_node("Relu", ["x"], ["y"]),
            {},
            ["batch", 4],
            "graph input x: dimension batch of .*is not fixed; give it a size with --dim batch=N",
        ),
        (
            helper.make_node("Tan", ["x"], ["y"], name="wave"),
            {},
            [2, 4],
            "node wave.*function tan.*equal bits",
        ),
        (
            helper.make_node("Mystery", ["x"], ["y"], name="odd", domain="com.example"),
            {},
            [2, 4],
            r"node odd \(com.example::Mystery\): unknown operator",
        ),
        (
            helper.make_node("Pow", ["x", "p"], ["y"], name="power"),
            {"p": np.float32(2.3)},
            [2, 4],
            "node power.*power by 2.29.*Exp of a product",
        ),
        (
            helper.make_node("ScatterElements", ["x", "i", "x"], ["y"], name="put"),
            {"i": np.zeros((2, 4), np.int64)},
            [2, 4],
            "node put.*writes where its indices say: write it with Where",
        ),
        (
            helper.make_node("TopK", ["x", "k"], ["y", "places"], name="best"),
            {"k": np.array([2])},
            [2, 4],
            "node best.*it sorts: take ArgMax",
        ),
        (
            helper.make_node("NonZero", ["x"], ["y"], name="where"),
            {},
            [2, 4],
            "node where.*shape of its result depends on values.*mask",
        ),
        (
            helper.make_node("MaxPool", ["x"], ["y", "places"], name="pool", kernel_shape=[2, 2]),
            {},
            [1, 2, 4, 4],
            "node pool.*its output places has no kernel: leave it out",
        ),
        (
            helper.make_node("GRU", ["x", "w", "r"], ["y"], name="steps", hidden_size=3, clip=2.0),
            {"w": np.zeros((1, 9, 4), np.float32), "r": np.zeros((1, 9, 3), np.float32)},
            [5, 2, 4],
            "node steps.*clip=2.0 is not supported",
        ),
        (
            helper.make_node("GatherND", ["x", "i"], ["y"], name="pick"),
            {"i": np.array([[0, -5]])},
            [2, 4],
            "node pick.*indices -5 to -5 of an axis of 4",
        ),
        (
            helper.make_node("Gather", ["x", "i"], ["y"], name="row"),
            {"i": np.array([0, 7])},
            [2, 4],
            "node row.*indices 0 to 7 of an axis of 2",
        ),
        (
            helper.make_node("BitLinear", ["x", "w", "s"], ["y"], name="groups", domain=DOMAIN),
            {"w": packed(np.ones((20, 32), np.int8)), "s": np.ones((20, 2), np.float32)},
            [3, 32],
            r"node groups: tensor s: \[20, 2\] scales of a matrix \[20, 32\].*expected \[1\] or \[20\]",
        ),
    ],
)
def test_what_cannot_be_compiled_names_the_node_and_the_way_out(
    node: onnx.NodeProto, initializers: dict[str, np.ndarray], shape: list[object], complaint: str
) -> None:
    model = small_graph([node], initializers, shape)
    with pytest.raises(CompileError, match=complaint) as caught:
        plan_graph(ir.from_proto(model))
    assert "\n" not in str(caught.value)


def test_no_kernel_has_more_tensors_than_a_kernel_takes() -> None:
    """Sums and concatenations of many."""
    parts = [f"part{i}" for i in range(12)]
    nodes = [
        helper.make_node("Split", ["x"], parts, axis=1, num_outputs=12),
        *(helper.make_node("Sigmoid", [part], [f"{part}.gate"]) for part in parts),
        helper.make_node("Sum", [f"{part}.gate" for part in parts], ["sum"]),
        helper.make_node("Concat", [*(f"{part}.gate" for part in parts), "sum"], ["y"], axis=1),
    ]
    plan, _ = plan_graph(ir.from_proto(small_graph(nodes, {}, [2, 12])))
    assert max(len(step.buffers) for step in plan.run) <= MOST_BUFFERS


@pytest.mark.parametrize("exponent", [np.int64(2), np.int64(3), np.float32(5)])
def test_whole_powers_are_products_whatever_their_type(
    exponent: np.generic, capfd: pytest.CaptureFixture[str]
) -> None:
    """One kernel, and no advice of TVM."""
    node = helper.make_node("Pow", ["x", "p"], ["y"])
    plan, _ = plan_graph(ir.from_proto(small_graph([node], {"p": np.asarray(exponent)}, [2, 4])))
    assert len(plan.run) == 1
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_beside_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    """TVM complains of a builder that is given up in the middle of a function."""
    node = helper.make_node("Mystery", ["x"], ["y"], name="odd", domain="com.example")
    with pytest.raises(CompileError) as caught:
        plan_graph(ir.from_proto(small_graph([node], {}, [2, 4])))
    del caught
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_inputs_of_other_types_are_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [2])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [2])],
        [numpy_helper.from_array(np.float64(1), "unused")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    with pytest.raises(CompileError, match="graph input x: DOUBLE values"):
        plan_graph(ir.from_proto(model))
