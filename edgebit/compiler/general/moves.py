"""Standard operators that move elements: parts of a tensor, tensors side by side, elements at indices.

Indices count from the end where they are negative. Those that are computed where the model runs are held
inside their axis: nothing outside is ever read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.relax import op

from edgebit.compiler.converters import NODE, Attributes, Converters, Inputs
from edgebit.compiler.general.stages import MOST_BUFFERS
from edgebit.errors import CompileError

_MOST_PARTS = MOST_BUFFERS - 1  # of a concatenation that is one kernel


def rank(value: Any) -> int:
    return len(value.ty.shape.values)


def sizes(value: Any) -> list[int]:
    return [int(size) for size in value.ty.shape.values]


def concatenated(builder: relax.BlockBuilder, parts: Sequence[Any], axis: int) -> Any:
    """Tensors side by side, as many at a time as a kernel reads."""
    while len(parts) > 1:
        groups = [parts[i : i + _MOST_PARTS] for i in range(0, len(parts), _MOST_PARTS)]
        parts = [
            builder.emit(op.concat(list(group), axis)) if len(group) > 1 else group[0] for group in groups
        ]
    return parts[0]


def _concat(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    axis = attributes["axis"] % rank(inputs[0])
    return concatenated(builder, [x for x in inputs if sizes(x)[axis] > 0] or inputs[:1], axis)


def _split(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Slices, each a function of its own: one that nobody reads is never made."""
    x = inputs[0]
    axis = attributes.get("axis", 0) % rank(x)
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


def _gather(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Slices along an axis."""
    x = inputs[0]
    axis = attributes.get("axis", 0) % rank(x)
    return op.take(x, _within(builder, inputs[1], sizes(x)[axis]), axis, mode="clip")


def _gather_elements(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x = inputs[0]
    axis = attributes.get("axis", 0) % rank(x)
    return op.gather_elements(x, _within(builder, inputs[1], sizes(x)[axis]), axis)


def _gather_nd(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """As a Gather of slices, whose number is computed of the indices of the first axes."""
    x, indices = inputs[:2]
    if attributes.get("batch_dims", 0):
        raise CompileError("batch_dims is not supported: write it with GatherElements or Gather")
    count = sizes(indices)[-1]
    outer, inner = sizes(x)[:count], sizes(x)[count:]
    place: Any = relax.const(0, str(indices.ty.dtype))
    for axis, size in enumerate(outer):
        if isinstance(indices, tvm.ir.GenericConst):
            part = relax.const(indices.value.numpy()[..., axis], str(indices.ty.dtype))
        else:
            column = op.strided_slice(indices, [rank(indices) - 1], [axis], [axis + 1])
            part = builder.emit(op.squeeze(column, [rank(indices) - 1]))
        scaled = op.multiply(place, relax.const(size, str(indices.ty.dtype)))
        place = builder.emit(op.add(scaled, _within(builder, part, size)))
    return op.take(op.reshape(x, [prod(outer), *inner]), place, 0, mode="clip")


def _scatter_nd(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """At indices that are known: each slice is one of the updates, or what it was."""
    x, indices, updates = inputs[:3]
    if not isinstance(indices, tvm.ir.GenericConst) or attributes.get("reduction", b"none") != b"none":
        raise CompileError("it adds, or its indices are computed where it runs: write it with Where")
    known = indices.value.numpy()
    count = known.shape[-1]
    outer, inner = sizes(x)[:count], sizes(x)[count:]
    places = np.zeros(known.shape[:-1], np.int64)
    for axis, size in enumerate(outer):
        places = places * size + _checked(known[..., axis], size)
    if not places.size:
        return x
    update = np.full(prod(outer), -1)
    update[places.reshape(-1)] = np.arange(places.size)
    given = builder.emit(op.reshape(updates, [places.size, *inner]))
    taken = builder.emit(op.take(given, relax.const(np.maximum(update, 0)), 0, mode="clip"))
    is_new = relax.const((update >= 0).reshape(-1, *[1] * len(inner)))
    chosen = op.where(is_new, taken, op.reshape(x, [prod(outer), *inner]))
    return op.reshape(builder.emit(chosen), sizes(x))


def _within(builder: relax.BlockBuilder, indices: Any, size: int) -> Any:
    """Indices of an axis of ``size``. Raises CompileError for constants beyond it."""
    if isinstance(indices, tvm.ir.GenericConst):
        return relax.const(_checked(indices.value.numpy(), size), str(indices.ty.dtype))
    length, zero, last = (relax.const(value, str(indices.ty.dtype)) for value in (size, 0, size - 1))
    counted = builder.emit(op.where(op.less(indices, zero), op.add(indices, length), indices))
    return builder.emit(op.minimum(op.maximum(counted, zero), last))


def _checked(indices: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if indices.size and not -size <= indices.min() <= indices.max() < size:
        raise CompileError(f"indices {indices.min()} to {indices.max()} of an axis of {size}")
    return np.where(indices < 0, indices + size, indices)


MOVES: Converters = {
    ("", "Concat"): _concat,
    ("", "Gather"): _gather,
    ("", "GatherElements"): _gather_elements,
    ("", "GatherND"): _gather_nd,
    ("", "ScatterND"): _scatter_nd,
    ("", "Split"): _split,
}
