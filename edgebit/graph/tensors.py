"""Initializers that are read from the checkpoint when they are written or compiled, never before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]

_BLOCK_BYTES = 1 << 23


class StreamedTensor(ir.LazyTensor):
    """A tensor that writes itself block by block: `tofile` holds one block in memory, `numpy` the whole."""

    __slots__ = ("_blocks",)

    def __init__(
        self,
        name: str,
        dtype: ir.DataType,
        shape: tuple[int, ...],
        blocks: Callable[[], Iterator[Array]],
        whole: Callable[[], Array],
    ) -> None:
        super().__init__(lambda: ir.Tensor(whole(), name=name), dtype, ir.Shape(shape), name=name)
        self._blocks = blocks

    def blocks(self) -> Iterator[Array]:
        return self._blocks()

    def tofile(self, file: BinaryIO) -> None:
        for block in self._blocks():
            file.write(np.ascontiguousarray(block).view(np.uint8).data)


def byte_blocks(tensor: ir.TensorProtocol) -> Iterator[Array]:
    """Blocks of rows of a packed matrix, read from its checkpoint or its graph's file."""
    if isinstance(tensor, StreamedTensor):
        return tensor.blocks()
    return row_blocks(lambda: np.asarray(tensor.numpy()))


def row_blocks(whole: Callable[[], Array]) -> Iterator[Array]:
    """Blocks of rows of a mapped matrix."""
    matrix = whole()
    step = max(1, _BLOCK_BYTES // max(1, matrix[:1].nbytes))
    for begin in range(0, len(matrix), step):
        yield matrix[begin : begin + step]


def constant(tensor: ir.TensorProtocol) -> ir.Value:
    """The value of a named tensor, to be registered as an initializer."""
    shape = ir.Shape(list(tensor.shape.numpy()))
    return ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)


def small_tensor(name: str, shape: tuple[int, ...], compute: Callable[[], Array]) -> ir.LazyTensor:
    """A float32 tensor of a few kilobytes, computed at each access."""
    return ir.LazyTensor(
        lambda: ir.Tensor(np.asarray(compute(), np.float32).reshape(shape), name=name),
        ir.DataType.FLOAT,
        ir.Shape(shape),
        name=name,
    )
