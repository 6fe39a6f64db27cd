"""The Relax operators of edgebit: what an imported graph and the fused graph are written in.

Two groups. *Graph operators* mirror nodes of the ONNX file (DESIGN section 3) one to one; *kernel operators*
are what the fusion passes turn them into, and each becomes one or a few steps of the plan (`planner.py`).
They are ordinary `ir.Op`s with shape inference, so that Relax printing, well-formedness checks and dataflow
patterns work on them as on TVM's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax
from tvm.ir import Op, _ffi_api

InferType = Callable[[relax.Call], Any]


def _like(index: int, dtype: str | None = None) -> InferType:
    """The type of argument ``index``, with another dtype if one is given."""

    def infer(call: relax.Call) -> Any:
        argument = call.args[index].ty
        return relax.TensorType(argument.shape, dtype or argument.dtype)

    return infer


def _with_last_dim(tensor: Any, size: Any, dtype: str) -> Any:
    return relax.TensorType([*list(tensor.shape.values)[:-1], size], dtype)


def _quantized(call: relax.Call) -> Any:
    x = call.args[0].ty
    return relax.TupleType([relax.TensorType(x.shape, "int8"), _with_last_dim(x, 1, "float32")])


def _matmul_rows(weight: int, dtype: str) -> InferType:
    """[..., K] times a weight of N rows: [..., N]."""

    def infer(call: relax.Call) -> Any:
        return _with_last_dim(call.args[0].ty, call.args[weight].ty.shape.values[0], dtype)

    return infer


def _attention(call: relax.Call) -> Any:
    q, _, _, _, past_key, past_value = call.args
    sequence = q.ty.shape.values[1]

    def present(past: Any) -> Any:
        batch, heads, length, head_dim = past.ty.shape.values
        return relax.TensorType([batch, heads, length + sequence, head_dim], past.ty.dtype)

    return relax.TupleType([q.ty, present(past_key), present(past_value)])


def _pooled(call: relax.Call) -> Any:
    batch, _sequence, features = call.args[0].ty.shape.values
    return relax.TensorType([batch, features], "float32")


def _embedding(call: relax.Call) -> Any:
    ids, table = call.args[0].ty, call.args[1].ty
    return relax.TensorType([*ids.shape.values, table.shape.values[1]], "float32")


@dataclass(frozen=True)
class _Operator:
    arguments: tuple[str, ...]
    infer: InferType
    describe: str


OPERATORS: Mapping[str, _Operator] = {
    # graph operators
    "rms_norm": _Operator(("x", "weight"), _like(0), "x / rms(x) * weight; attribute eps"),
    "quantize_activation": _Operator(("x",), _quantized, "absmax int8 per token: (codes, scale)"),
    "ternary_matmul": _Operator(
        ("codes", "weight"), _matmul_rows(1, "int32"), "int32 accumulators of codes × trits"
    ),
    "dequantize": _Operator(
        ("accumulator", "scale", "weight_scale"), _like(0, "float32"), "acc · (weight_scale / scale)"
    ),
    "float_linear": _Operator(
        ("x", "weight", "weight_scale"), _matmul_rows(1, "float32"), "ternary projection of floats"
    ),
    "rotary_embedding": _Operator(
        ("x", "cos", "sin", "positions"), _like(0), "NeoX halves; attribute num_heads"
    ),
    "attention": _Operator(
        ("query", "key", "value", "mask", "past_key", "past_value"),
        _attention,
        "(output, present key, present value); attributes num_heads, num_kv_heads, scale, window",
    ),
    "pool_last": _Operator(("x", "mask"), _pooled, "the row of the last token of each text"),
    "pool_mean": _Operator(("x", "mask"), _pooled, "the mean of the rows of each text"),
    "normalize": _Operator(("x",), _like(0), "x / max(|x|, 1e-12): length 1"),
    # kernel operators
    "embedding": _Operator(("ids", "table"), _embedding, "float32 rows of a bfloat16 table"),
    "norm_quantize": _Operator(
        ("x", "weight"), _quantized, "rms_norm, then quantize_activation; attribute eps"
    ),
    "linear": _Operator(
        ("codes", "scale", "weight", "weight_scale"), _matmul_rows(2, "float32"), "ternary projection"
    ),
    "add_bias": _Operator(("product", "bias"), _like(0), "projection + bias"),
    "head_norm": _Operator(("x", "weight"), _like(0), "rms_norm of the features of each head; attribute eps"),
    "scale": _Operator(("x",), _like(0), "x · attribute factor"),
    "residual": _Operator(("x", "y"), _like(0), "x + y, in the place of x"),
    "norm_residual": _Operator(("x", "y", "weight"), _like(0), "x + rms_norm(y), in the place of x"),
    "gated": _Operator(("gate", "up"), _like(0), "activation(gate) · up; attribute activation"),
    "attention_block": _Operator(
        ("query", "key", "value", "cos", "sin"),
        _like(0),
        "rotary, cache append, attention; attributes num_heads, num_kv_heads, softmax_scale, window",
    ),
    "head": _Operator(
        ("x", "norm_weight", "table"), _matmul_rows(2, "float32"), "logits of rms_norm(x); attribute eps"
    ),
    "pooled_head": _Operator(
        ("x", "norm_weight"), _pooled, "embedding of rms_norm(x); attributes eps, pooling (last, mean)"
    ),
}


def _register(name: str, operator: _Operator) -> None:
    full = f"edgebit.{name}"
    if full in Op.list_op_names():
        return
    _ffi_api.RegisterOp(full, operator.describe)
    op = Op.get(full)
    op.set_num_inputs(len(operator.arguments))
    for argument in operator.arguments:
        op.add_argument(argument, "Tensor", "")
    op.set_attr("FInferType", lambda call, _builder: operator.infer(call))
    op.set_attr("FPurity", True)


for _name, _definition in OPERATORS.items():
    _register(_name, _definition)


def call(name: str, arguments: list[Any], **attributes: float | int | str) -> relax.Call:
    """A call of operator ``edgebit.name``; attributes are carried as a DictAttrs."""
    return relax.Call(Op.get(f"edgebit.{name}"), arguments, tvm.ir.make_node("ir.DictAttrs", **attributes))


def is_call(expression: Any, name: str) -> bool:
    """Whether ``expression`` is a call of ``edgebit.name``."""
    return (
        isinstance(expression, relax.Call)
        and isinstance(expression.op, Op)
        and expression.op.name == f"edgebit.{name}"
    )
