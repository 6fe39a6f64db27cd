"""A plan while it grows: its step lists over one arena, and the steps that many operators share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from edgebit.compiler.sections import Sections
from edgebit.compiler.steps import Scratch, StepList
from edgebit.compiler.weights import ROWS, Packed, pad
from edgebit.errors import CompileError

F32 = 4  # bytes


@dataclass(frozen=True)
class Codes:
    """Quantised rows: where prefill has them, and how decoding makes them: in the arena, or (``again``) by
    each thread in its scratch when they are needed.
    """

    arena: Quantized
    again: Callable[[], Quantized] | None


class PlanBuilder:
    """Values of the fused function so far, and where decoding and prefill have them.

    ``users``: how many operators read a value. ``made_again``: rows that decoding makes for each thread, just
    before they are read. ``time`` numbers the steps of all lists.
    """

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self.values: dict[relax.Var, Any] = {}
        self.users: Counter[relax.Var] = Counter()
        self.made_again: dict[relax.Var, Callable[[], Operand]] = {}
        self.arena = Arena()
        self.decode, self.prefill, self.head = (StepList(self.arena) for _ in range(3))
        self.scratch = Scratch()
        self.time = 0
        self.cache_bytes = 0

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
        if self.users[variable] == 1:
            return Codes(codes, in_scratch)
        decode(codes, everywhere=False)
        self.scratch.end_chain()
        return Codes(codes, None)

    def projection(
        self,
        label: str,
        epilogue: str,
        codes: Codes,
        matrices: Sequence[Packed],
        scales: Sequence[Any],
        out: Rows,
    ) -> None:
        """Matrices one below the other, times the codes."""
        name = "+".join(matrix.name for matrix in matrices)
        weight = self.sections.weights.add(name, *layout.stacked(matrices))
        blocks = [align(matrix.rows, ROWS) // ROWS for matrix in matrices]
        block_scales = self.sections.block_scales(name, scales, blocks, out.width // ROWS)
        self.ternary(label, epilogue, codes, weight, 1, block_scales, out)

    def ternary(
        self,
        label: str,
        epilogue: str,
        codes: Codes,
        weight: int,
        blocks_per_unit: int,
        scales: Argument,
        out: Rows,
    ) -> None:
        columns = pad(codes.arena.features)
        units = constant(out.width // ROWS)
        scalars = [COUNT, constant(columns // 16), TOKEN_COUNT, constant(out.width)]

        def operands(quantized: Quantized) -> list[Operand]:
            return [
                Argument(Space.WEIGHTS, weight, unit_stride=blocks_per_unit * ROWS * columns // 4),
                *quantized.whole(),
                scales if scales.unit_stride else replace(scales, unit_stride=F32),
                InArena(out.buffer, unit_stride=ROWS * F32),
            ]

        self.advance()
        gemm, gemv = (KernelInstance(f"ternary_{product}_{epilogue}") for product in ("gemm", "gemv"))
        self.prefill.add(self.time, label, gemm, units, operands(codes.arena), scalars)
        one = codes.again() if codes.again else codes.arena
        self.decode.add(self.time, label, gemv, units, operands(one), scalars)
        self.scratch.end_chain()

    def rows_of(self, label: str, variable: relax.Var) -> Rows:
        value = self.values.get(variable)
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
