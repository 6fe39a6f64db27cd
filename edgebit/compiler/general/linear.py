"""Ternary linears of a general graph: rows are quantised and meet U16 weights, as in a language model.

The kernels want rows padded to 64 features and 16 outputs. A tensor whose sizes are others is copied into
rows of the padded size, whose padding is zero from the start, and out of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tvm import relax

from edgebit.compiler import weights as layout
from edgebit.compiler.arena import InArena, Operand
from edgebit.compiler.general.stages import Stage, stages_of
from edgebit.compiler.general.values import Codes, Value
from edgebit.compiler.memory import align
from edgebit.compiler.plan import COUNT, Argument, KernelInstance, Scalar, Space, constant
from edgebit.compiler.sections import Sections
from edgebit.compiler.weights import PADDING, ROWS, pad
from edgebit.errors import CompileError
from edgebit.schedules.rows import copy_rows

_F32 = 4
_TOKENS = 12  # of the largest tile of a GEMM


class Steps(Protocol):
    """Where the steps go (`planner.GraphPlanner`)."""

    sections: Sections

    def dense(self, name: str, shape: Sequence[int], dtype: str) -> Value: ...
    def kept_zeros(self, name: str, size: int) -> InArena: ...
    def add_stage(self, label: str, stage: Stage, operands: Sequence[Operand]) -> None: ...
    def add(
        self,
        label: str,
        kernel: KernelInstance,
        units: int,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
        grain: int = 1,
    ) -> None: ...


def add_codes(steps: Steps, label: str, x: Value) -> Codes:
    """Quantise the rows of ``x``, each by its own largest value."""
    if x.dtype != "float32" or not x.shape:
        raise CompileError(f"node {label}: quantises {x.dtype} {list(x.shape)}, expected float32 rows")
    rows, features = x.rows, x.shape[-1]
    width = pad(features)
    source = x.operand
    if width != features:
        source = steps.kept_zeros(f"{label}.rows", rows * width * _F32)
        steps.add_stage(label, _copy("pad_rows", rows, features, features, width), [x.operand, source])
    codes, sums, scales = (
        steps.dense(f"{label}.{part}", shape, dtype).operand
        for part, shape, dtype in (
            ("codes", [rows, width], "int8"),
            ("sums", [rows], "int32"),
            ("scales", [rows], "float32"),
        )
    )
    operands = [
        _by(source, width * _F32),
        _by(codes, width),
        _by(sums, _F32),
        _by(scales, _F32),
    ]
    steps.add(label, KernelInstance("quantize"), rows, operands, [COUNT, constant(width // PADDING)])
    return Codes(codes, sums, scales, x.shape)


def add_linear(steps: Steps, label: str, codes: Codes, weight: relax.Var, weight_scale: relax.Var) -> Value:
    """Codes times a ternary matrix, rescaled: float32 [..., N].

    Threads share the rows where there are many, as in a convolution, the outputs otherwise.
    """
    matrix = steps.sections.packed(weight, codes.features)
    out_width = align(matrix.rows, ROWS)
    blocks = out_width // ROWS
    out = steps.dense(f"{label}.padded", [*codes.shape[:-1], out_width], "float32")
    section = steps.sections.weights.add(matrix.name, *layout.stacked([matrix]))
    scales = steps.sections.block_scales(matrix.name, [weight_scale], [blocks], blocks)
    weights = Argument(Space.WEIGHTS, section)
    lines = constant(pad(codes.features) // ROWS)
    if codes.rows > blocks:
        operands = [
            weights,
            _by(codes.codes, pad(codes.features)),
            _by(codes.sums, _F32),
            _by(codes.scales, _F32),
            replace(scales, unit_stride=0),
            _by(out.operand, out_width * _F32),
        ]
        scalars = [constant(blocks), lines, COUNT, constant(out_width)]
        steps.add(label, KernelInstance("ternary_gemm_store"), codes.rows, operands, scalars, _TOKENS)
    else:
        operands = [
            replace(weights, unit_stride=ROWS * pad(codes.features) // 4),
            codes.codes,
            codes.sums,
            codes.scales,
            replace(scales, unit_stride=_F32),
            _by(out.operand, ROWS * _F32),
        ]
        scalars = [COUNT, lines, constant(codes.rows), constant(out_width)]
        product = "gemv" if codes.rows == 1 else "gemm"
        steps.add(label, KernelInstance(f"ternary_{product}_store"), blocks, operands, scalars)
    if out_width == matrix.rows:
        return out
    dense = steps.dense(label, [*codes.shape[:-1], matrix.rows], "float32")
    copy = _copy("take_rows", codes.rows, matrix.rows, out_width, matrix.rows)
    steps.add_stage(label, copy, [out.operand, dense.operand])
    return dense


def _by(operand: Operand, unit_stride: int) -> Operand:
    return replace(operand, unit_stride=unit_stride)


def _copy(name: str, rows: int, columns: int, source_width: int, target_width: int) -> Stage:
    (stage,) = stages_of(copy_rows(rows, columns, source_width, target_width))
    return replace(stage, name=name)
