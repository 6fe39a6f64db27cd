"""Standard operators that TVM's importer lacks, or lowers to sums that lose digits, as Relax expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op

from edgebit.compiler.importer import CONVERTERS, EDGEBIT_DOMAIN, NODE, Attributes, Converters, Inputs
from edgebit.errors import CompileError


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


def _gather(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Slices along an axis. Indices count from the end where they are negative, and are held inside the axis
    where they are wrong: nothing outside is ever read.
    """
    x, indices = inputs[:2]
    axis = attributes.get("axis", 0) % _rank(x)
    size = int(x.ty.shape.values[axis])
    if isinstance(indices, tvm.ir.GenericConst):
        known = indices.value.numpy()
        if known.size and not -size <= known.min() <= known.max() < size:
            raise CompileError(f"indices {known.min()} to {known.max()} of an axis of {size}")
        return op.take(x, relax.const(np.where(known < 0, known + size, known)), axis, mode="clip")
    length, zero = (relax.const(value, str(indices.ty.dtype)) for value in (size, 0))
    counted = builder.emit(op.where(op.less(indices, zero), op.add(indices, length), indices))
    return op.take(x, counted, axis, mode="clip")


def _split(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Slices, each a function of its own: one that nobody reads is never made."""
    x = inputs[0]
    axis = attributes.get("axis", 0) % _rank(x)
    size = int(x.ty.shape.values[axis])
    if len(inputs) > 1 and inputs[1] is not None:
        if not isinstance(inputs[1], tvm.ir.GenericConst):
            raise CompileError("its sizes are computed where it runs; export them as constants")
        sizes = inputs[1].value.numpy().tolist()
    else:
        count = int(attributes.get("num_outputs", attributes[NODE]["num_outputs"]))
        each = -(-size // count)
        sizes = [min(each, size - each * i) for i in range(count)]
    if sum(sizes) != size or min(sizes, default=0) < 0:
        raise CompileError(f"sizes {sizes} of an axis of {size}")
    ends = np.cumsum(sizes).tolist()
    return relax.Tuple(
        [op.strided_slice(x, [axis], [end - n], [end]) for n, end in zip(sizes, ends, strict=True)]
    )


def _concat(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    axis = attributes["axis"] % _rank(inputs[0])
    parts = [x for x in inputs if int(x.ty.shape.values[axis]) > 0] or inputs[:1]
    return op.concat(parts, axis) if len(parts) > 1 else parts[0]


def _unchecked(_: relax.BlockBuilder, __: Inputs, ___: Attributes) -> Any:
    raise CompileError("its indices are not checked where it runs: write it with Gather, Slice or Where")


_UNCHECKED = ("GatherElements", "GatherND", "ScatterElements", "ScatterND")
_TERNARY = (
    "QuantizeActivation",
    "TernaryMatMulInteger",
    "DequantizeAccumulator",
    "BitLinear",
    "TernaryMatMul",
)

GENERAL_CONVERTERS: Converters = {
    **{(EDGEBIT_DOMAIN, name): CONVERTERS[EDGEBIT_DOMAIN, name] for name in _TERNARY},
    **{("", name): _unchecked for name in _UNCHECKED},
    ("", "Concat"): _concat,
    ("", "Gather"): _gather,
    ("", "LayerNormalization"): _layer_normalization,
    ("", "RMSNormalization"): _rms_normalization,
    ("", "BatchNormalization"): _batch_normalization,
    ("", "Gelu"): _gelu,
    ("", "Split"): _split,
}
