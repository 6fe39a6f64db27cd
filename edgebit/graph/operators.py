"""The operators of domain ``ai.edgebit`` version 1, as ONNX functions whose bodies are standard operators.

onnx.checker, shape inference and plain onnxruntime therefore run an exported file without any operator
library; edgebit's compiler looks at the names alone and puts its own kernels in their place. Bodies follow
SPEC 1.3 to the bit; the last three make embeddings, padding left or right of the tokens:

====================  ============================================  ========================================
operator              inputs → outputs                              value
====================  ============================================  ========================================
QuantizeActivation    x f32[…,K] → q i8[…,K], s f32[…,1]            s = 127·(1/max(max|x|,1e-5)), rint(x·s)
UnpackTernary         w u8[N,K/4] → i8[N,K]                         code − 1, four a byte, low bits first
TernaryMatMulInteger  q i8[…,K], w u8[N,K/4] → i32[…,N]             q · wᵀ, exact
DequantizeAccumulator acc i32[…,N], s f32[…,1], w_scale f32        acc · (w_scale / s)
BitLinear             x, w, w_scale → f32[…,N]                      the three above in a row
PoolLast              x f32[B,S,H], mask i64[B,S] → f32[B,H]        the row of the last token that is there
PoolMean              x f32[B,S,H], mask i64[B,S] → f32[B,H]        mean of the rows of tokens that are there
Normalize             x f32[…,H] → f32[…,H]                         x / max(‖x‖, 1e-12)
TernaryMatMul         x f32[…,K], w, w_scale f32 → f32[…,N]         x · (w_scale · w)ᵀ, x as it is
====================  ============================================  ========================================

w_scale is [1] for the matrix or [N] for its rows; in TernaryMatMul [N, 1] for rows, [N, K/g] for groups of g
columns.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx import TensorProto, helper
from onnxscript import opset23 as op
from onnxscript import script
from onnxscript.values import Opset

DOMAIN = "ai.edgebit"
DOMAIN_VERSION = 1
OPSET_VERSION = 23

edgebit_opset = Opset(DOMAIN, DOMAIN_VERSION)


def _constant(data_type: int, value: float | list[int], shape: tuple[int, ...] = ()) -> TensorProto:
    return helper.make_tensor("value", data_type, shape, value if isinstance(value, list) else [value])


_LAST_AXIS = _constant(TensorProto.INT64, [-1], (1,))
_SMALLEST_ABSMAX = _constant(TensorProto.FLOAT, 1e-5)
_LARGEST_CODE = _constant(TensorProto.FLOAT, 127.0)
_SMALLEST_CODE = _constant(TensorProto.FLOAT, -128.0)
_TRITS_OF_BYTE = _constant(
    TensorProto.INT8, [((byte >> shift) & 3) - 1 for byte in range(256) for shift in (0, 2, 4, 6)], (256, 4)
)
_ROWS_BY_REST = _constant(TensorProto.INT64, [0, -1], (2,))
_TOKENS = _constant(TensorProto.INT64, [1], (1,))
_FEATURES = _constant(TensorProto.INT64, [2], (1,))
_ZERO = _constant(TensorProto.FLOAT, 0.0)
_SMALLEST_LENGTH = _constant(TensorProto.FLOAT, 1e-12)
_KEPT = _constant(TensorProto.INT64, [0], (1,))
_BIAS = _constant(TensorProto.UINT8, 128)


@script(edgebit_opset, default_opset=op)
def QuantizeActivation(x):  # type: ignore[no-untyped-def]
    """Absmax int8 quantisation per token, ties to even; 127 times the reciprocal is not 127/absmax."""
    absmax = op.ReduceMax(op.Abs(x), op.Constant(value=_LAST_AXIS), keepdims=1)
    absmax = op.Max(absmax, op.Constant(value=_SMALLEST_ABSMAX))
    # Not Div(1, absmax): onnxruntime's DivMulFusion makes 127/absmax of that, another float in 1 of 4 cases.
    s = op.Mul(op.Constant(value=_LARGEST_CODE), op.Reciprocal(absmax))
    rounded = op.Round(op.Mul(x, s))
    limited = op.Clip(rounded, op.Constant(value=_SMALLEST_CODE), op.Constant(value=_LARGEST_CODE))
    q = op.Cast(limited, to=TensorProto.INT8)
    return q, s


@script(edgebit_opset, default_opset=op)
def UnpackTernary(w):  # type: ignore[no-untyped-def]
    """2-bit codes, four to a byte along K, to int8 trits."""
    trits = op.Gather(op.Constant(value=_TRITS_OF_BYTE), op.Cast(w, to=TensorProto.INT32), axis=0)
    return op.Reshape(trits, op.Constant(value=_ROWS_BY_REST))


@script(edgebit_opset, default_opset=op)
def TernaryMatMulInteger(q, w):  # type: ignore[no-untyped-def]
    """int8 activations times ternary weights, biased to uint8: onnxruntime is 100 times faster so."""
    weight = op.Transpose(edgebit_opset.UnpackTernary(w), perm=[1, 0])
    biased = op.BitwiseXor(op.Cast(q, to=TensorProto.UINT8), op.Constant(value=_BIAS))
    return op.MatMulInteger(biased, weight, op.Constant(value=_BIAS))


@script(edgebit_opset, default_opset=op)
def DequantizeAccumulator(acc, s, w_scale):  # type: ignore[no-untyped-def]
    """int32 accumulators to float32."""
    return op.Mul(op.Cast(acc, to=TensorProto.FLOAT), op.Div(w_scale, s))


@script(edgebit_opset, default_opset=op)
def BitLinear(x, w, w_scale):  # type: ignore[no-untyped-def]
    """Quantise, multiply, rescale: one ternary linear layer."""
    q, s = edgebit_opset.QuantizeActivation(x)
    acc = edgebit_opset.TernaryMatMulInteger(q, w)
    return edgebit_opset.DequantizeAccumulator(acc, s, w_scale)


@script(edgebit_opset, default_opset=op)
def PoolLast(x, mask):  # type: ignore[no-untyped-def]
    """The hidden state of the last token of each text."""
    last = op.ArgMax(op.Cast(mask, to=TensorProto.INT32), axis=1, keepdims=1, select_last_index=1)
    return op.GatherND(x, last, batch_dims=1)


@script(edgebit_opset, default_opset=op)
def PoolMean(x, mask):  # type: ignore[no-untyped-def]
    """The mean of the hidden states of each text."""
    there = op.Unsqueeze(op.Cast(mask, to=TensorProto.BOOL), op.Constant(value=_FEATURES))
    # Not a product with 0: what stands at padding may be no number.
    rows = op.Where(there, x, op.Constant(value=_ZERO))
    count = op.ReduceSum(op.Cast(there, to=TensorProto.FLOAT), op.Constant(value=_TOKENS), keepdims=0)
    return op.Div(op.ReduceSum(rows, op.Constant(value=_TOKENS), keepdims=0), count)


@script(edgebit_opset, default_opset=op)
def Normalize(x):  # type: ignore[no-untyped-def]
    """A vector of length 1 in the same direction."""
    length = op.ReduceL2(x, op.Constant(value=_LAST_AXIS), keepdims=1)
    return op.Div(x, op.Max(length, op.Constant(value=_SMALLEST_LENGTH)))


@script(edgebit_opset, default_opset=op)
def TernaryMatMul(x, w, w_scale):  # type: ignore[no-untyped-def]
    """Floats times ternary weights, whose scales are of groups of columns: one group where they are rows'."""
    trits = op.Cast(edgebit_opset.UnpackTernary(w), to=TensorProto.FLOAT)
    groups = op.Shape(w_scale, start=-1)
    rest = op.Constant(value=_LAST_AXIS)
    by_group = op.Reshape(trits, op.Concat(op.Constant(value=_KEPT), groups, rest, axis=0))
    weight = op.Mul(by_group, op.Unsqueeze(w_scale, rest))
    return op.MatMul(x, op.Transpose(op.Reshape(weight, op.Constant(value=_ROWS_BY_REST)), perm=[1, 0]))


OPERATORS = (
    QuantizeActivation,
    UnpackTernary,
    TernaryMatMulInteger,
    DequantizeAccumulator,
    BitLinear,
    PoolLast,
    PoolMean,
    Normalize,
    TernaryMatMul,
)


def functions() -> list[ir.Function]:
    """All operators as functions of a model, new objects at each call."""
    return [ir.from_proto(operator.to_function_proto()) for operator in OPERATORS]
