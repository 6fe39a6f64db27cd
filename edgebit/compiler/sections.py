"""From initializers of the graph to sections of weights.bin, each validated and added once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from tvm import relax

from edgebit.compiler import weights as layout
from edgebit.compiler.group_scales import MatrixScales
from edgebit.compiler.importer import ImportedGraph
from edgebit.compiler.plan import Argument, Space
from edgebit.compiler.weights import Packed, Weights, pad
from edgebit.errors import CompileError

_F32 = 4


@dataclass(frozen=True)
class Table:
    """An embedding table [rows, columns] of the model; ``data`` maps it when it is read."""

    name: str
    rows: int
    columns: int
    data: Callable[[], layout.Array]


class Sections:
    """The weights of one model; methods take a parameter of the Relax function and return where its section
    is.
    """

    def __init__(
        self,
        graph: ImportedGraph,
        initializers: Mapping[str, ir.Value],
        tokens: Sequence[int] | None = None,
    ) -> None:
        """``tokens``: only these rows of the tables, in this order; None: all."""
        self.weights = Weights()
        self._tokens = None if tokens is None else list(tokens)
        self._parameters = graph.parameters
        self._initializers = initializers

    def name(self, variable: Any) -> str:
        if not isinstance(variable, relax.Var) or variable.name not in self._parameters:
            what = f"node {variable.name}" if isinstance(variable, relax.Var) else "the graph"
            raise CompileError(f"{what}: a value of it stands where a weight of the model is expected")
        return self._parameters[variable.name]

    def tensor(self, variable: Any) -> layout.Array:
        """The values of a small initializer."""
        return np.asarray(self._initializer(variable).numpy())

    def packed(self, variable: Any, columns: int) -> Packed:
        """A ternary matrix of ``columns`` (K); raises CompileError when its bytes are not those of K packed
        trits a row.
        """
        name = self.name(variable)
        tensor = self._initializer(variable)
        row_bytes = -(-columns // 4)
        if tensor.dtype != ir.DataType.UINT8 or len(tensor.shape) != 2 or tensor.shape[1] != row_bytes:
            raise CompileError(
                f"tensor {name}: {tensor.dtype.name} {list(tensor.shape)}, "
                f"expected UINT8 [rows, {row_bytes}] for {columns} columns"
            )
        return Packed(name, tensor.shape.numpy()[0], columns, lambda: np.asarray(tensor.numpy()))

    def table(self, variable: Any) -> Table:
        """A [V, H] table."""
        name = self.name(variable)
        tensor = self._initializer(variable)
        rows, columns = tensor.shape.numpy()
        if rows * pad(columns) >= 2**31:
            raise CompileError(
                f"tensor {name}: {rows} × {pad(columns)} values are more than kernels can index"
            )
        if self._tokens is None:
            return Table(name, rows, columns, lambda: np.asarray(tensor.numpy()))
        some = self._tokens
        return Table(name, len(some), columns, lambda: np.asarray(tensor.numpy())[some])

    def bfloat16_rows(self, variable: Any) -> Argument:
        """A [V, H] table as padded bfloat16 rows."""
        table = self.table(variable)
        section = layout.bfloat16_table(table.name, table.rows, pad(table.columns), table.data)
        return Argument(Space.WEIGHTS, self.weights.add(table.name, *section))

    def vector(self, variable: Any, width: int) -> Argument:
        """A float32 vector padded to ``width``."""
        name = self.name(variable)
        return self.floats(name, self.tensor(variable), width)

    def sized_vector(self, variable: Any, size: int) -> layout.Array:
        """The values of a vector of ``size`` features. Raises CompileError for one of another size."""
        values = self.tensor(variable)
        if values.shape != (size,):
            raise CompileError(f"tensor {self.name(variable)}: {list(values.shape)}, expected [{size}]")
        return values

    def block_scales(self, name: str, scales: Sequence[Any], blocks: Sequence[int], total: int) -> Argument:
        """One float32 multiplier for each block of 16 rows: scale i repeated ``blocks[i]`` times, padded to
        ``total``.
        """
        values = [
            np.full(count, self._multiplier(scale), np.float32)
            for scale, count in zip(scales, blocks, strict=True)
        ]
        return self.floats(f"{name}.block_scale", np.concatenate(values), total, _F32)

    def paired_scales(self, name: str, scales: Sequence[Any], pairs: int) -> Argument:
        """Multipliers of gate and up in turn; one unit is a pair."""
        values = np.tile(np.array([self._multiplier(scale) for scale in scales], np.float32), pairs)
        return self.floats(f"{name}.block_scale", values, 2 * pairs, 2 * _F32)

    def matrix_scales(self, variable: Any, matrix: Packed) -> MatrixScales:
        """The scales of ``matrix``: [1], of groups [N, G], or of rows, [N, 1] and [N]."""
        tensor = self._initializer(variable)
        shape = tuple(tensor.shape.numpy())
        if len(shape) == 1 and shape[0] > 1:
            shape = (shape[0], 1)
        return MatrixScales(
            self.name(variable), shape, matrix, lambda: np.asarray(tensor.numpy()).reshape(shape)
        )

    def has_row_scales(self, variable: Any) -> bool:
        """Whether a matrix has more than one scale."""
        shape = tuple(self._initializer(variable).shape.numpy())
        return shape not in ((), (1,))

    def rotary_table(self, variable: Any, context: int, head_dim: int, padded: int) -> Argument:
        """The first ``context`` rows of a [positions, head_dim/2] table, zeros behind each up to padded/2."""
        name = self.name(variable)
        table = self.tensor(variable)
        if table.ndim != 2 or table.shape[1] != head_dim // 2:
            raise CompileError(f"tensor {name}: {list(table.shape)}, expected [positions, {head_dim // 2}]")
        if table.shape[0] < context:
            raise CompileError(
                f"tensor {name}: {table.shape[0]} positions, but a context of {context} was asked for"
            )
        rows = np.pad(table[:context], ((0, 0), (0, (padded - head_dim) // 2)))
        return self.floats(name, rows, rows.size)

    def floats(self, name: str, values: layout.Array, size: int, unit_stride: int = 0) -> Argument:
        """Float32 values padded to ``size``, under a name of their own."""
        return Argument(
            Space.WEIGHTS, self.weights.add(name, *layout.float_vector(name, values, size)), unit_stride
        )

    def _initializer(self, variable: Any) -> ir.TensorProtocol:
        tensor = self._initializers[self.name(variable)].const_value
        assert tensor is not None  # the importer refuses initializers without a value
        return tensor

    def _multiplier(self, variable: Any) -> np.float32:
        name = self.name(variable)
        value = self.tensor(variable).reshape(-1)
        if value.size != 1:
            raise CompileError(f"tensor {name}: {value.size} scales, expected one for the whole matrix")
        scale = np.float32(value[0])
        if not np.isfinite(scale) or scale <= 0:
            raise CompileError(f"tensor {name}: scale {scale}, expected a positive finite number")
        return scale
