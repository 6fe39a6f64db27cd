"""Standard operators that TVM's importer lacks, or lowers to sums that lose digits, as Relax expressions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op

from edgebit.compiler.converters import CONVERTERS, EDGEBIT_DOMAIN, Attributes, Converter, Converters, Inputs
from edgebit.compiler.general.moves import MOVES
from edgebit.compiler.general.recurrent import RECURRENT
from edgebit.compiler.general.refused import REFUSED
from edgebit.errors import CompileError

_MOST_FACTORS = 16  # of a power that is multiplied out
_MOST_TERMS = 1 << 24  # of all cumulative sums of a tensor


def _rank(value: Any) -> int:
    return len(value.ty.shape.values)


def _normalized(builder: relax.BlockBuilder, x: Any, axes: list[int], epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + ε) over axes; the variance in a second pass: in one it loses digits."""
    mean = builder.emit(op.mean(x, axes, keepdims=True))
    centred = builder.emit(op.subtract(x, mean))
    variance = builder.emit(op.mean(op.multiply(centred, centred), axes, keepdims=True))
    deviation = builder.emit(op.sqrt(op.add(variance, _float(epsilon))))
    return builder.emit(op.divide(centred, deviation))


def _float(value: float) -> Any:
    return relax.const(np.float32(value))


def _layer_normalization(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x, scale = inputs[0], inputs[1]
    rank = _rank(x)
    axes = list(range(attributes.get("axis", -1) % rank, rank))
    y = op.multiply(_normalized(builder, x, axes, attributes.get("epsilon", 1e-5)), scale)
    return op.add(y, inputs[2]) if len(inputs) > 2 and inputs[2] is not None else y


def _rms_normalization(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x, scale = inputs[0], inputs[1]
    rank = _rank(x)
    axes = list(range(attributes.get("axis", -1) % rank, rank))
    square = builder.emit(op.mean(op.multiply(x, x), axes, keepdims=True))
    root = builder.emit(op.sqrt(op.add(square, _float(attributes.get("epsilon", 1e-5)))))
    return op.multiply(op.divide(x, root), scale)


def _batch_normalization(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Of inference: a scale and a shift of each channel, known now where its inputs are constants."""
    if attributes.get("training_mode", 0):
        raise CompileError("BatchNormalization in training mode: export the model in eval() mode")
    x, gamma, beta, mean, variance = inputs[:5]
    shape = [1, -1, *[1] * (_rank(x) - 2)]
    epsilon = _float(attributes.get("epsilon", 1e-5))
    scale = builder.emit(op.divide(gamma, op.sqrt(op.add(variance, epsilon))))
    shift = builder.emit(op.subtract(beta, op.multiply(mean, scale)))
    return op.add(op.multiply(x, op.reshape(scale, shape)), op.reshape(shift, shape))


def _gelu(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x = inputs[0]
    half, one = _float(0.5), _float(1.0)
    if attributes.get("approximate", b"none") == b"tanh":
        inner = op.add(x, op.multiply(op.multiply(op.multiply(x, x), x), _float(0.044715)))
        gate = op.tanh(op.multiply(inner, _float(0.7978845608028654)))
    else:
        gate = op.erf(op.multiply(x, _float(0.7071067811865476)))
    return op.multiply(op.multiply(x, half), op.add(gate, one))


def _folded(operator: Callable[[Any, Any], Any]) -> Converter:
    """Of any number of tensors, from the first to the last."""
    return lambda _, inputs, __: reduce(operator, inputs)


def _mean_of(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return op.divide(reduce(op.add, inputs), _float(len(inputs)))


def _power(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    """Whole powers as products, as kernels compute them; TVM warns of its own from 3 on."""
    x, exponent = inputs[:2]
    if not isinstance(exponent, tvm.ir.GenericConst):
        return op.power(x, op.astype(exponent, str(x.ty.dtype)))
    known = exponent.value.numpy()
    if known.size != 1 or known.item() not in range(3, _MOST_FACTORS + 1) or known.ndim > _rank(x):
        return op.power(x, relax.const(known.astype(str(x.ty.dtype))))
    product = x
    for _factor in range(int(known.item()) - 1):
        product = op.multiply(product, x)
    return product


def _cumulative_sum(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Each a sum of its own, in the order of the axis: y[i] = Σ x[j], j ≤ i."""
    x, axis_of = inputs[:2]
    if not isinstance(axis_of, tvm.ir.GenericConst):
        raise CompileError("its axis is computed where it runs; export it as a constant")
    axis = int(axis_of.value.numpy().reshape(-1)[0]) % _rank(x)
    sizes = [int(size) for size in x.ty.shape.values]
    if prod(sizes) * sizes[axis] > _MOST_TERMS:
        raise CompileError(f"cumulative sums of {sizes} along an axis of {sizes[axis]}; compute them outside")
    order = np.tri(sizes[axis], k=-1 if attributes.get("exclusive", 0) else 0, dtype=np.bool_)
    taken = (order.T if attributes.get("reverse", 0) else order).reshape(
        *order.shape, *[1] * (len(sizes) - axis - 1)
    )
    zero = relax.const(0, str(x.ty.dtype))
    terms = builder.emit(op.where(relax.const(taken), op.expand_dims(x, axis), zero))
    return op.sum(terms, axis + 1)


_TERNARY = (
    "QuantizeActivation",
    "TernaryMatMulInteger",
    "DequantizeAccumulator",
    "BitLinear",
    "TernaryMatMul",
)

GENERAL_CONVERTERS: Converters = {
    **{(EDGEBIT_DOMAIN, name): CONVERTERS[EDGEBIT_DOMAIN, name] for name in _TERNARY},
    **MOVES,
    **RECURRENT,
    **REFUSED,
    ("", "LayerNormalization"): _layer_normalization,
    ("", "RMSNormalization"): _rms_normalization,
    ("", "BatchNormalization"): _batch_normalization,
    ("", "CumSum"): _cumulative_sum,
    ("", "Gelu"): _gelu,
    ("", "Max"): _folded(op.maximum),
    ("", "Mean"): _mean_of,
    ("", "Min"): _folded(op.minimum),
    ("", "Pow"): _power,
    ("", "Sum"): _folded(op.add),
}
