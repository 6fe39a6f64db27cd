"""The steps of ternary products: by activation (int8 codes, or floats) and by scales (one a matrix, or more).

===========  ==============================  ===========================================================
activations  scales                          kernels, and their scales
===========  ==============================  ===========================================================
int8         [1]                             ``ternary_*``, float32 of every block of 16 rows
int8         [N] of rows                     ``ternary_*_by_row``, float32 of every row
float        [1], [N, 1], [N, G] of groups   ``ternary_float_*``, float32 [blocks][groups][16 rows]
===========  ==============================  ===========================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgebit.compiler.arena import InArena, Operand, Quantized, Rows
from edgebit.compiler.group_scales import GroupScales, group_scales
from edgebit.compiler.memory import align
from edgebit.compiler.plan import COUNT, TOKEN_COUNT, Argument, KernelInstance, Space, constant
from edgebit.compiler.projections import Codes, FloatInput
from edgebit.compiler.weights import ROWS, Packed, pad
from edgebit.errors import CompileError

if TYPE_CHECKING:
    from edgebit.compiler.plan_builder import PlanBuilder

F32 = 4  # bytes


@dataclass(frozen=True)
class Step:
    """A ternary product: where its weights are, and the columns of ``out`` that it computes."""

    label: str
    epilogue: str
    weight: int
    blocks_per_unit: int
    out: Rows
    units: int
    column: int = 0

    def weights(self, columns: int) -> Operand:
        return Argument(Space.WEIGHTS, self.weight, unit_stride=self.blocks_per_unit * ROWS * columns // 4)

    def output(self) -> Operand:
        return InArena(self.out.buffer, unit_stride=ROWS * F32, start=self.column * F32)


def add_product(
    plan: PlanBuilder,
    step: Step,
    codes: Codes | FloatInput,
    matrices: Sequence[Packed],
    scales: Sequence[Any],
) -> None:
    """The product of ``matrices``, whose packed bytes the step has, and codes or floats; ``scales``: Relax
    variables.
    """
    name = "+".join(matrix.name for matrix in matrices)
    sections = plan.sections
    if isinstance(codes, FloatInput):
        _add_floats(plan, step, codes, *_group_scales(plan, step, name, matrices, scales))
    elif any(sections.has_row_scales(scale) for scale in scales):
        made, by_row = _group_scales(plan, step, name, matrices, scales)
        if made.groups > 1:
            raise CompileError(
                f"node {step.label}: int8 activations with scales of groups of columns are not supported; "
                "floats (TernaryMatMul, --activation-quantization none) are"
            )
        _add_codes(plan, replace(step, epilogue=f"{step.epilogue}_by_row"), codes, by_row)
    elif step.blocks_per_unit > 1:
        _add_codes(plan, step, codes, sections.paired_scales(name, scales, step.units))
    else:
        blocks = [align(matrix.rows, ROWS) // ROWS for matrix in matrices]
        _add_codes(plan, step, codes, sections.block_scales(name, scales, blocks, step.units))


def _add_codes(plan: PlanBuilder, step: Step, codes: Codes, scales: Argument) -> None:
    """Codes and int32 accumulators."""
    columns = pad(codes.features)
    sizes = [COUNT, constant(columns // 16), TOKEN_COUNT, constant(step.out.width)]

    def operands(quantized: Quantized) -> list[Operand]:
        return [
            step.weights(columns),
            *quantized.whole(),
            scales if scales.unit_stride else replace(scales, unit_stride=F32),
            step.output(),
        ]

    plan.advance()
    gemm, gemv = (KernelInstance(f"ternary_{product}_{step.epilogue}") for product in ("gemm", "gemv"))
    plan.prefill.add(plan.time, step.label, gemm, constant(step.units), operands(codes.arena), sizes)
    one = codes.again() if codes.again else codes.arena
    plan.decode.add(plan.time, step.label, gemv, constant(step.units), operands(one), sizes)
    plan.scratch.end_chain()


def _add_floats(plan: PlanBuilder, step: Step, x: FloatInput, made: GroupScales, scales: Argument) -> None:
    """Floats as they are; a scale for each row and group of columns (schedules/ternary_float.py)."""
    columns = pad(x.features)
    sizes = [COUNT, constant(columns // 16), constant(made.group_lines)]

    def operands(row: Operand) -> list[Operand]:
        return [step.weights(columns), row, scales, step.output()]

    plan.advance()
    gemm, gemv = (KernelInstance(f"ternary_float_{product}_{step.epilogue}") for product in ("gemm", "gemv"))
    rows = operands(InArena(x.rows.buffer))
    all_sizes = [*sizes, TOKEN_COUNT, constant(step.out.width)]
    plan.prefill.add(plan.time, step.label, gemm, constant(step.units), rows, all_sizes)
    one = operands(x.decoded())
    plan.decode.add(plan.time, step.label, gemv, constant(step.units), one, sizes)
    plan.scratch.end_chain()


def _group_scales(
    plan: PlanBuilder, step: Step, name: str, matrices: Sequence[Packed], scales: Sequence[Any]
) -> tuple[GroupScales, Argument]:
    """Scales of every row and group of columns, and where a unit finds its own."""
    parts = [
        plan.sections.matrix_scales(scale, matrix) for scale, matrix in zip(scales, matrices, strict=True)
    ]
    made = group_scales(parts, step.blocks_per_unit > 1, step.units * step.blocks_per_unit)
    section = plan.sections.weights.add(f"{name}.group_scale", made.size, made.chunks)
    stride = step.blocks_per_unit * made.groups * ROWS * F32
    return made, Argument(Space.WEIGHTS, section, unit_stride=stride)
