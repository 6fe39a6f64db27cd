"""The steps that every part of a decoder is made of: norms, sums, products, weights of the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from edgebit.graph.assembler import BATCH, FLOAT, SEQUENCE, Assembler, Dims
from edgebit.graph.tensors import Array, StreamedTensor, row_blocks, small_tensor
from edgebit.model import Checkpoint


class Elements:
    """Float32 nodes of ``graph`` and initializers that read ``checkpoint`` when they are asked for."""

    def __init__(self, graph: Assembler, checkpoint: Checkpoint) -> None:
        self.graph = graph
        self.checkpoint = checkpoint
        self.config = checkpoint.config

    def norm(self, x: ir.Value, name: str, eps: float | None = None) -> ir.Value:
        weight = self.vector(f"{name}.weight", int(dims(x)[-1]), partial(self.checkpoint.norm_weight, name))
        return self.elementwise(
            "RMSNormalization", [x, weight], name, axis=-1, epsilon=eps or self.config.rms_norm_eps
        )

    def optional_norm(self, x: ir.Value, layer: str, norm: str | None) -> ir.Value:
        """A norm that the family may not have."""
        return x if norm is None else self.norm(x, f"{layer}.{norm}")

    def head_norm(self, x: ir.Value, layer: str, norm: str | None, heads: int) -> ir.Value:
        """A norm over the features of each head, which the family may not have."""
        if norm is None:
            return x
        name, head_dim = f"{layer}.{norm}", self.config.head_dim
        split = self.graph.integers(f"split_{heads}_heads", [0, 0, heads, head_dim])
        joined = self.graph.integers(f"join_{heads}_heads", [0, 0, heads * head_dim])
        apart: Dims = [BATCH, SEQUENCE, heads, head_dim]
        h = self.graph.node("Reshape", [x, split], f"{name}.heads", FLOAT, apart)
        return self.graph.node("Reshape", [self.norm(h, name), joined], f"{name}.joined", FLOAT, dims(x))

    def add(self, x: ir.Value, y: ir.Value, name: str) -> ir.Value:
        return self.elementwise("Add", [x, y], name)

    def multiply(self, x: ir.Value, y: ir.Value, name: str) -> ir.Value:
        return self.elementwise("Mul", [x, y], name)

    def elementwise(
        self, op_type: str, inputs: list[ir.Value], name: str, **attributes: int | float | str
    ) -> ir.Value:
        """A float32 node with the shape of its first input."""
        return self.graph.node(op_type, inputs, name, FLOAT, dims(inputs[0]), **attributes)

    def vector(self, name: str, size: int, read: Callable[[], Array]) -> ir.Value:
        """A norm weight or a bias as float32 [size]."""
        return self.graph.initializer(small_tensor(name, (size,), read))

    def matrix(self, name: str) -> ir.Value:
        """The embedding or the head, bfloat16 [vocab_size, hidden_size]."""
        shape = (self.config.vocab_size, self.config.hidden_size)
        whole = partial(self.checkpoint.bfloat16_rows, name)
        blocks = partial(row_blocks, whole)
        return self.graph.initializer(StreamedTensor(name, ir.DataType.BFLOAT16, shape, blocks, whole))


def dims(value: ir.Value) -> list[int | str]:
    """The shape a value was assembled with."""
    assert value.shape is not None
    return [d if isinstance(d, int) else str(d.value) for d in value.shape]
