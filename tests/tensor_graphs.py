"""Small graphs of tensors, with and without ternary operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgebit.graph import operators

Array = npt.NDArray[Any]


def packed(trits: Array) -> Array:
    """[N, K] of -1, 0, 1 → uint8 [N, K/4]."""
    codes = (trits + 1).astype(np.uint8)
    return codes[:, 0::4] | codes[:, 1::4] << 2 | codes[:, 2::4] << 4 | codes[:, 3::4] << 6


def model_of(
    nodes: Sequence[onnx.NodeProto],
    initializers: Mapping[str, Array],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()]
    graph = helper.make_graph(list(nodes), "tensors", list(inputs), list(outputs), tensors)
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid(operators.DOMAIN, 1)],
        functions=[operator.to_function_proto() for operator in operators.OPERATORS],
        ir_version=10,
    )


def small_graph(
    nodes: Sequence[onnx.NodeProto], initializers: Mapping[str, Array], shape: Sequence[Any]
) -> onnx.ModelProto:
    """Float input x of ``shape``, output y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    return model_of(nodes, initializers, [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])


def mlp() -> onnx.ModelProto:
    """x [3, 20] → BitLinear 48 → Relu → BitLinear 10 → y: sizes that are no multiples of 64 and 16."""
    generator = np.random.default_rng(5)
    initializers = {
        "w1": packed(generator.integers(-1, 2, (48, 20))),
        "s1": np.array([0.3], np.float32),
        "w2": packed(generator.integers(-1, 2, (10, 48))),
        "s2": np.array([0.2], np.float32),
    }
    domain = operators.DOMAIN
    nodes = [
        helper.make_node("BitLinear", ["x", "w1", "s1"], ["h"], name="first", domain=domain),
        helper.make_node("Relu", ["h"], ["hidden"], name="relu"),
        helper.make_node("BitLinear", ["hidden", "w2", "s2"], ["y"], name="second", domain=domain),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [3, 20]), ("y", [3, 10]))
    )
    return model_of(nodes, initializers, [x], [y])


def everything() -> onnx.ModelProto:
    """A classifier of two images with many kinds of operators: outputs y (floats) and best (int64)."""
    generator = np.random.default_rng(7)

    def normal(*shape: int) -> Array:
        return generator.standard_normal(shape).astype(np.float32)

    initializers: dict[str, Array] = {
        "kernel": normal(8, 3, 3, 3),
        "bias": normal(8),
        "gamma": normal(8),
        "beta": normal(8),
        "mean": normal(8),
        "variance": generator.random(8).astype(np.float32) + np.float32(0.5),
        "rows": np.array([2, 8, 36]),
        "flat": np.array([2, -1]),
        "w1": packed(generator.integers(-1, 2, (50, 36))),
        "s1": np.array([0.1], np.float32),
        "w2": packed(generator.integers(-1, 2, (128, 400))),
        "s2": np.array([0.05], np.float32),
        "scale": normal(128),
        "shift": normal(128),
        "matrix": normal(10, 128) * np.float32(0.1),
        "last": np.array(-1),
    }
    domain = operators.DOMAIN
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], strides=[1, 1]),
        helper.make_node("Reshape", ["p", "rows"], ["q"]),
        helper.make_node("BitLinear", ["q", "w1", "s1"], ["b"], name="first", domain=domain),
        helper.make_node("Gelu", ["b"], ["g"]),
        helper.make_node("Reshape", ["g", "flat"], ["f"]),
        helper.make_node("BitLinear", ["f", "w2", "s2"], ["d"], name="second", domain=domain),
        helper.make_node("LayerNormalization", ["d", "scale", "shift"], ["l"]),
        helper.make_node("Gemm", ["l", "matrix"], ["m"], transB=1),
        helper.make_node("Softmax", ["m"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
    ]
    named = [
        ("x", TensorProto.FLOAT, [2, 3, 8, 8]),
        ("y", TensorProto.FLOAT, [2, 10]),
        ("best", TensorProto.INT64, [2]),
    ]
    x, *outputs = (helper.make_tensor_value_info(*each) for each in named)
    return model_of(nodes, initializers, [x], outputs)


def taken_apart() -> onnx.ModelProto:
    """Operators that only the standard's own bodies explain: x [2, 6, 64] and past keys [2, 2, 3, 16]."""
    generator = np.random.default_rng(9)
    angles = np.arange(9)[:, None] * 10.0 ** -np.linspace(0, 2, 8)
    initializers: dict[str, Array] = {
        "narrow": generator.standard_normal((64, 32)).astype(np.float32),
        "cosine": np.cos(angles).astype(np.float32),
        "sine": np.sin(angles).astype(np.float32),
        "places": np.arange(6)[None] + np.zeros((2, 1), np.int64),
    }
    heads = {"q_num_heads": 4, "kv_num_heads": 2}
    nodes = [
        helper.make_node("MatMul", ["x", "narrow"], ["k"]),
        helper.make_node("RotaryEmbedding", ["x", "cosine", "sine", "places"], ["turned"], num_heads=4),
        helper.make_node(
            "Attention",
            ["turned", "k", "k", "", "past", "past"],
            ["seen", "keys", "values"],
            name="attention",
            is_causal=1,
            scale=0.2,
            softcap=5.0,
            **heads,
        ),
        helper.make_node("Celu", ["seen"], ["y"], alpha=0.7),
    ]
    named = [
        ("x", [2, 6, 64]),
        ("past", [2, 2, 3, 16]),
        ("y", [2, 6, 64]),
        ("keys", [2, 2, 9, 16]),
        ("values", [2, 2, 9, 16]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in named]
    return model_of(nodes, initializers, values[:2], values[2:])


def row_scales() -> onnx.ModelProto:
    """x [3, 96] → BitLinear 50 → 21 → 33 → y [1, 33], a scale of each output; outputs, rows, one row shared
    by threads.
    """
    generator = np.random.default_rng(17)
    shapes = {"1": (50, 96), "2": (21, 4), "3": (33, 756)}
    initializers: dict[str, Array] = {"narrow": np.array([36, 4]), "flat": np.array([1, 756])}
    for layer, shape in shapes.items():
        initializers[f"w{layer}"] = packed(generator.integers(-1, 2, shape))
        initializers[f"s{layer}"] = generator.uniform(0.01, 2, shape[0]).astype(np.float32)
    domain = operators.DOMAIN
    nodes = [
        helper.make_node("BitLinear", ["x", "w1", "s1"], ["a"], name="outputs", domain=domain),
        helper.make_node("Slice", ["a", "zero", "48", "one"], ["b"]),
        helper.make_node("Reshape", ["b", "narrow"], ["c"]),
        helper.make_node("BitLinear", ["c", "w2", "s2"], ["d"], name="rows", domain=domain),
        helper.make_node("Reshape", ["d", "flat"], ["e"]),
        helper.make_node("BitLinear", ["e", "w3", "s3"], ["y"], name="row", domain=domain),
    ]
    initializers |= {"zero": np.array([0]), "48": np.array([48]), "one": np.array([1])}
    return small_graph(nodes, initializers, [3, 96])


def float_layers() -> onnx.ModelProto:
    """x [3, 96] → ternary products of floats → y [1, 10]: scales of groups, of a matrix, of rows."""
    generator = np.random.default_rng(13)

    def trits(*shape: int) -> Array:
        return packed(generator.integers(-1, 2, shape))

    initializers = {
        "w1": trits(128, 96),
        "s1": generator.random((128, 3)).astype(np.float32),
        "w2": trits(20, 8),
        "s2": np.array([0.3], np.float32),
        "w3": trits(10, 960),
        "s3": generator.random((10, 1)).astype(np.float32),
        "narrow": np.array([48, 8]),
        "flat": np.array([1, 960]),
    }
    domain = operators.DOMAIN
    nodes = [
        helper.make_node("TernaryMatMul", ["x", "w1", "s1"], ["a"], name="groups", domain=domain),
        helper.make_node("Reshape", ["a", "narrow"], ["b"]),
        helper.make_node("TernaryMatMul", ["b", "w2", "s2"], ["c"], name="matrix", domain=domain),
        helper.make_node("Reshape", ["c", "flat"], ["d"]),
        helper.make_node("TernaryMatMul", ["d", "w3", "s3"], ["y"], name="rows", domain=domain),
    ]
    return small_graph(nodes, initializers, [3, 96])
