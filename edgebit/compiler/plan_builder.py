"""A plan while it grows: its step lists over one arena, and the steps that many operators share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from edgebit.compiler import weights as layout
from edgebit.compiler.arena import Arena, InArena, Operand, Quantized, Rows
from edgebit.compiler.memory import align
from edgebit.compiler.plan import (
    COUNT,
    TOKEN_COUNT,
    Argument,
    KernelInstance,
    Scalar,
    Space,
    constant,
)
from edgebit.compiler.projections import Codes, FloatInput, Product
from edgebit.compiler.sections import Sections
from edgebit.compiler.steps import Scratch, StepList
from edgebit.compiler.ternary_steps import Step, add_product
from edgebit.compiler.weights import PADDING, ROWS, Packed
from edgebit.errors import CompileError

F32 = 4  # bytes


class PlanBuilder:
    """Values of the fused function so far, and where decoding and prefill have them.

    ``readers``: the operators that read a value. ``made_again``: rows that decoding makes for each thread,
    just before they are read. ``time`` numbers the steps of all lists.
    """

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.values: dict[relax.Var, Any] = {}
        self.readers: dict[relax.Var, set[relax.Var]] = {}
        self.made_again: dict[relax.Var, Callable[[], Operand]] = {}
        self.arena = Arena()
        self.decode, self.prefill, self.head = (StepList(self.arena) for _ in range(3))
        self.scratch = Scratch()
        self.time = 0
        self.cache_bytes = 0
        self._float_inputs: dict[relax.Var, FloatInput] = {}

    def quantizer(
        self,
        variable: relax.Var,
        source: relax.Var,
        kernel: KernelInstance,
        weights: Sequence[Operand],
        scalars: Sequence[Scalar],
        needs_row: bool,
    ) -> Codes:
        """Codes of ``source``. ``needs_row``: the kernel takes a float row of scratch."""
        label, x = variable.name, self.rows_of(variable.name, source)
        codes = self.arena.quantized(label, x.features)

        def operands(row: Operand, out: Quantized) -> list[Operand]:
            normed: list[Operand] = [self.scratch.take(x.row_bytes)] if needs_row else []
            return [row, *weights, *out.by_token(), *normed]

        def decode(out: Quantized, everywhere: bool) -> None:
            made = self.made_again.get(source)
            row = made() if made else InArena(x.buffer)
            self.decode.add(
                self.time, label, kernel, constant(1), operands(row, out), scalars, everywhere=everywhere
            )

        def in_scratch() -> Quantized:
            if self.rows_of(label, source) is not x:
                raise CompileError(f"node {label}: its input was updated before its codes were used")
            take = self.scratch.take
            out = Quantized(take(x.width), take(F32), take(F32), x.features)
            decode(out, everywhere=True)
            return out

        self.advance()
        rows = InArena(x.buffer, x.row_bytes)
        self.prefill.add(self.time, label, kernel, TOKEN_COUNT, operands(rows, codes), scalars)
        self.scratch.end_chain()
        if len(self.readers.get(variable, ())) == 1:
            return Codes(codes, in_scratch)
        decode(codes, everywhere=False)
        self.scratch.end_chain()
        return Codes(codes, None)

    def float_input(self, label: str, source: relax.Var) -> FloatInput:
        """``source`` for projections that do not quantise it, the same object for all of them."""
        if source not in self._float_inputs:
            x = self.rows_of(label, source)

            def decoded() -> Operand:
                if self.rows_of(label, source) is not x:
                    raise CompileError(f"node {label}: its input was updated before it was used")
                made = self.made_again.get(source)
                return made() if made else InArena(x.buffer)

            self._float_inputs[source] = FloatInput(x, decoded)
        return self._float_inputs[source]

    def projection(
        self,
        label: str,
        epilogue: str,
        codes: Codes | FloatInput,
        matrices: Sequence[Packed],
        scales: Sequence[Any],
        out: Rows,
        column: int | None = None,
    ) -> None:
        """Matrices one below the other, times the codes: ``out``, or its columns from ``column`` on."""
        name = "+".join(matrix.name for matrix in matrices)
        weight = self.sections.weights.add(name, *layout.stacked(matrices))
        blocks = [align(matrix.rows, ROWS) // ROWS for matrix in matrices]
        units = out.width // ROWS if column is None else sum(blocks)
        step = Step(label, epilogue, weight, 1, out, units, column or 0)
        add_product(self, step, codes, matrices, scales)

    def gated_projection(
        self,
        label: str,
        epilogue: str,
        codes: Codes | FloatInput,
        matrices: Sequence[Packed],
        scales: Sequence[Any],
        out: Rows,
    ) -> None:
        """Gate and up, whose rows interleave in blocks of 16, times the codes: a gate and its up value meet
        in registers.
        """
        gate, up = matrices
        name = f"{gate.name}+{up.name}"
        pairs = out.width // ROWS
        weight = self.sections.weights.add(name, *layout.interleaved(gate, up))
        add_product(self, Step(label, epilogue, weight, 2, out, pairs), codes, matrices, scales)

    def normalized(
        self,
        label: str,
        call: relax.Call,
        x: Rows,
        source: relax.Var,
        weight: relax.Var,
        out: Rows,
        residual: bool = False,
    ) -> Callable[[bool], Operand]:
        """The RMSNorm of ``x``, the rows of ``source``, in prefill: written to ``out`` or added to it. The
        result makes the row of decoding there, or (true) in the scratch of each thread.
        """
        name = "rmsnorm_residual" if residual else "rmsnorm_rows"
        kernel = KernelInstance(name, (("eps", float(call.attrs["eps"])),))
        vector = self.sections.vector(weight, x.width)
        scalars = [COUNT, constant(x.width // PADDING), constant(x.features)]
        self.advance()
        rows: list[Operand] = [InArena(x.buffer, x.row_bytes), vector, InArena(out.buffer, out.row_bytes)]
        self.prefill.add(self.time, label, kernel, TOKEN_COUNT, rows, scalars)

        def decoded(everywhere: bool) -> Operand:
            if self.rows_of(label, source) is not x:
                raise CompileError(f"node {label}: its input was updated before its norm was used")
            made = self.made_again.get(source)
            row = made() if made else InArena(x.buffer)
            to: Operand = self.scratch.take(x.row_bytes) if everywhere else InArena(out.buffer)
            operands = [row, vector, to]
            self.decode.add(self.time, label, kernel, constant(1), operands, scalars, everywhere=everywhere)
            return to

        return decoded

    def computed(self, label: str, product: Product) -> Rows:
        """The result of a projection in rows of its own."""
        if product.head_norm is not None:
            raise CompileError(f"node {label}: a norm of each head stands where no attention follows")
        out = self.arena.rows(label, product.matrix.rows)
        self.projection(label, "store", product.codes, [product.matrix], [product.scale], out)
        self.add_biases(label, [product], out)
        return out

    def add_biases(self, label: str, products: Sequence[Product], out: Rows) -> None:
        """The biases of products whose results lie side by side in ``out``; 0 for one without."""
        if all(product.bias is None for product in products):
            return
        values = [
            np.zeros(product.matrix.rows, np.float32)
            if product.bias is None
            else self.sections.sized_vector(product.bias, product.matrix.rows)
            for product in products
        ]
        name = "+".join(f"{product.matrix.name}.bias" for product in products)
        bias = self.sections.floats(name, np.concatenate(values), out.width, ROWS * F32)
        self.elementwise(f"{label}.bias", KernelInstance("add_bias"), out, [bias])

    def product_of(self, label: str, variable: relax.Var) -> Product:
        value = self.values.get(variable)
        if not isinstance(value, Product):
            raise CompileError(f"node {label}: its input {variable.name} is no projection")
        return value

    def taken(self, label: str, variable: relax.Var) -> Rows:
        """Rows to be updated in place: nothing may read their old value any more."""
        x = self.stored(label, variable)
        del self.values[variable]
        return x

    def rows_of(self, label: str, variable: relax.Var) -> Rows:
        value = self.values.get(variable)
        if isinstance(value, Product):
            value = self.values[variable] = self.computed(value.label, value)
        if not isinstance(value, Rows):
            raise CompileError(
                f"node {label}: its input {variable.name} is not an activation that is still held"
            )
        return value

    def stored(self, label: str, variable: relax.Var) -> Rows:
        """Rows that decoding has in the arena too."""
        if variable in self.made_again:
            raise CompileError(f"node {label}: the output of attention goes through a projection first")
        return self.rows_of(label, variable)

    def elementwise(
        self,
        label: str,
        kernel: KernelInstance,
        rows: Rows,
        others: Sequence[Operand] = (),
    ) -> None:
        """A step over blocks of 16 columns of all tokens, in place (schedules/float_rows.py)."""
        operands: list[Operand] = [InArena(rows.buffer, unit_stride=ROWS * F32), *others]
        self.both(
            label,
            kernel,
            constant(rows.width // ROWS),
            operands,
            [COUNT, TOKEN_COUNT, constant(rows.width)],
        )

    def cache(self, size: int) -> Argument:
        offset = self.cache_bytes
        self.cache_bytes += align(size)
        return Argument(Space.CACHE, offset)

    def advance(self) -> None:
        self.time += 1

    def both(
        self,
        label: str,
        kernel: KernelInstance,
        units: Scalar,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
    ) -> None:
        """The same step in decoding and in prefill."""
        self.advance()
        self.decode.add(self.time, label, kernel, units, operands, scalars)
        self.prefill.add(self.time, label, kernel, units, operands, scalars)
        self.scratch.end_chain()
