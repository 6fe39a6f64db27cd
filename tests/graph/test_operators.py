"""The ai.edgebit operators as onnxruntime runs them, against the integer contract of SPEC 1.3: exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgebit.graph.operators import DOMAIN, DOMAIN_VERSION, OPERATORS, OPSET_VERSION
from edgebit.model import pack_codes

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.uint8): TensorProto.UINT8,
}
SESSIONS: dict[tuple[Any, ...], onnxruntime.InferenceSession] = {}


def run(op_type: str, inputs: Sequence[np.ndarray], outputs: Sequence[type]) -> list[np.ndarray]:
    """One node of the domain in plain onnxruntime; dimensions are open, so one session serves all shapes."""
    key = (op_type, *(x.ndim for x in inputs))
    if key not in SESSIONS:
        SESSIONS[key] = session(op_type, inputs, outputs)
    return list(SESSIONS[key].run(None, {f"i{n}": x for n, x in enumerate(inputs)}))


def session(
    op_type: str, inputs: Sequence[np.ndarray], outputs: Sequence[type]
) -> onnxruntime.InferenceSession:
    values = [
        helper.make_tensor_value_info(f"i{n}", TYPES[x.dtype], [f"i{n}_{axis}" for axis in range(x.ndim)])
        for n, x in enumerate(inputs)
    ]
    rank = inputs[0].ndim
    results = [
        helper.make_tensor_value_info(f"o{n}", TYPES[np.dtype(t)], [f"o{n}_{axis}" for axis in range(rank)])
        for n, t in enumerate(outputs)
    ]
    node = helper.make_node(op_type, [v.name for v in values], [r.name for r in results], domain=DOMAIN)
    model = helper.make_model(
        helper.make_graph([node], op_type, values, results),
        functions=[operator.to_function_proto() for operator in OPERATORS],
        opset_imports=[helper.make_opsetid("", OPSET_VERSION), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def quantize(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    absmax = np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
    s = np.float32(127) * (np.float32(1) / absmax)
    return np.clip(np.rint(x * s), -128, 127).astype(np.int8), s


def test_each_operator_is_a_function_of_standard_operators_and_of_its_own_domain() -> None:
    for operator in OPERATORS:
        function = operator.to_function_proto()
        assert function.domain == DOMAIN
        assert {node.domain for node in function.node} <= {"", DOMAIN}
        assert {(o.domain, o.version) for o in function.opset_import} <= {("", 23), (DOMAIN, 1)}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 300), st.floats(1e-4, 1e4))
def test_quantize_activation_is_exact(seed: int, tokens: int, features: int, magnitude: float) -> None:
    x = np.random.default_rng(seed).standard_normal((1, tokens, features)) * magnitude
    x = x.astype(np.float32)
    q, s = run("QuantizeActivation", [x], [np.int8, np.float32])
    expected_q, expected_s = quantize(x)
    assert (q == expected_q).all()
    assert (s == expected_s).all()


def test_quantize_activation_rounds_ties_to_even() -> None:
    x = np.array([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -127.0]], np.float32)
    q, s = run("QuantizeActivation", [x], [np.int8, np.float32])
    assert q.tolist() == [[127, 0, 2, 2, 0, -2, -127]]
    assert s.tolist() == [[1.0]]


def test_quantize_activation_multiplies_by_the_reciprocal() -> None:
    """127/absmax and 127·(1/absmax) differ in a quarter of all cases; the contract is the latter."""
    absmax = np.random.default_rng(0).uniform(0.1, 9, (64, 1)).astype(np.float32)
    _, s = run("QuantizeActivation", [absmax], [np.int8, np.float32])
    assert (s == np.float32(127) * (np.float32(1) / absmax)).all()
    assert (s != np.float32(127) / absmax).any()


@pytest.mark.parametrize("value", [0.0, 1e-7, -1e-30])
def test_tokens_smaller_than_the_floor_are_quantised_against_it(value: float) -> None:
    x = np.full((2, 8), value, np.float32)
    q, s = run("QuantizeActivation", [x], [np.int8, np.float32])
    assert (s == np.float32(127) * (np.float32(1) / np.float32(1e-5))).all()
    assert (q == np.rint(x * s).astype(np.int8)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 9), st.integers(1, 40))
def test_ternary_matmul_is_exact(seed: int, tokens: int, rows: int, quads: int) -> None:
    random = np.random.default_rng(seed)
    q = random.integers(-128, 128, (1, tokens, 4 * quads)).astype(np.int8)
    codes = random.integers(0, 3, (rows, 4 * quads)).astype(np.uint8)
    (acc,) = run("TernaryMatMulInteger", [q, pack_codes(codes)], [np.int32])
    assert (acc == q.astype(np.int32) @ (codes.astype(np.int32) - 1).T).all()


def test_ternary_matmul_does_not_saturate() -> None:
    """All signs equal over a wide K: the int16 sums of onnxruntime's uint8 kernel must not be clipped."""
    codes = np.full((4, 8192), 2, np.uint8)
    codes[1] = 0
    q = np.full((1, 8192), 127, np.int8)
    for sign in (1, -1):
        (acc,) = run("TernaryMatMulInteger", [(sign * q).astype(np.int8), pack_codes(codes)], [np.int32])
        assert acc.tolist() == [[sign * v * 127 * 8192 for v in (1, -1, 1, 1)]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 20]))
def test_bit_linear_equals_the_contract_bit_for_bit(seed: int, scales: int) -> None:
    """With one scale, and with one of each row."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((2, 3, 64)).astype(np.float32)
    codes = random.integers(0, 3, (20, 64)).astype(np.uint8)
    scale = random.uniform(0.01, 2, scales).astype(np.float32)
    (y,) = run("BitLinear", [x, pack_codes(codes), scale], [np.float32])
    q, s = quantize(x)
    acc = q.astype(np.int32) @ (codes.astype(np.int32) - 1).T
    assert (y == acc.astype(np.float32) * (scale / s)).all()
    (same,) = run("DequantizeAccumulator", [acc, s, scale], [np.float32])
    assert (same == y).all()


@pytest.mark.parametrize("shape", [(1,), (20, 1), (20, 4)], ids=["tensor", "row", "group"])
def test_ternary_matmul_scales_the_matrix_its_rows_or_groups_of_its_columns(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 3, 64)).astype(np.float32)
    codes = random.integers(0, 3, (20, 64)).astype(np.uint8)
    scale = random.uniform(0.01, 2, shape).astype(np.float32)
    (y,) = run("TernaryMatMul", [x, pack_codes(codes), scale], [np.float32])
    every = np.broadcast_to(np.repeat(np.atleast_2d(scale), 64 // shape[-1], axis=1), (20, 64))
    np.testing.assert_allclose(y, x @ ((codes.astype(np.float32) - 1) * every).T, rtol=0, atol=1e-5)
