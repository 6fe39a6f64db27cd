"""Ternary linears of a general graph: rows, quantised or not, meet U16 weights, as in a language model.

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
from edgebit.compiler.group_scales import group_scales
from edgebit.compiler.memory import align
from edgebit.compiler.plan import COUNT, Argument, KernelInstance, Scalar, Space, constant
from edgebit.compiler.sections import Sections
from edgebit.compiler.weights import PADDING, ROWS, Packed, pad
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
    rows, width = x.rows, pad(x.shape[-1])
    source = _padded(steps, label, x)
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
    """Codes times a ternary matrix whose scale is of it ([1]) or of its rows ([N]): float32 [..., N].

    Threads share the rows where there are many, as in a convolution, the outputs otherwise.
    """
    matrix = steps.sections.packed(weight, codes.features)
    out_width = align(matrix.rows, ROWS)
    blocks = out_width // ROWS
    out = steps.dense(f"{label}.padded", [*codes.shape[:-1], out_width], "float32")
    section = steps.sections.weights.add(matrix.name, *layout.stacked([matrix]))
    epilogue, scales = _scales_of_blocks(steps, label, weight_scale, matrix)
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
        gemm = KernelInstance(f"ternary_gemm_{epilogue}")
        steps.add(label, gemm, codes.rows, operands, scalars, _TOKENS)
    else:
        operands = [
            replace(weights, unit_stride=ROWS * pad(codes.features) // 4),
            codes.codes,
            codes.sums,
            codes.scales,
            scales,
            _by(out.operand, ROWS * _F32),
        ]
        scalars = [COUNT, lines, constant(codes.rows), constant(out_width)]
        product = "gemv" if codes.rows == 1 else "gemm"
        steps.add(label, KernelInstance(f"ternary_{product}_{epilogue}"), blocks, operands, scalars)
    return _unpadded(steps, label, out, matrix.rows)


def add_float_linear(steps: Steps, label: str, x: Value, weight: relax.Var, weight_scale: relax.Var) -> Value:
    """Floats times a ternary matrix whose scales are of it, of its rows or of groups of columns: [..., N].

    Threads share rows or outputs as those of `add_linear` do.
    """
    if x.dtype != "float32" or not x.shape:
        raise CompileError(f"node {label}: multiplies {x.dtype} {list(x.shape)}, expected float32 rows")
    matrix = steps.sections.packed(weight, x.shape[-1])
    width, out_width = pad(x.shape[-1]), align(matrix.rows, ROWS)
    blocks = out_width // ROWS
    made = group_scales([steps.sections.matrix_scales(weight_scale, matrix)], False, blocks)
    source = _padded(steps, label, x)
    out = steps.dense(f"{label}.padded", [*x.shape[:-1], out_width], "float32")
    store = steps.sections.weights
    weights = Argument(Space.WEIGHTS, store.add(matrix.name, *layout.stacked([matrix])))
    scales = Argument(Space.WEIGHTS, store.add(f"{matrix.name}.group_scale", made.size, made.chunks))
    lines = [constant(width // ROWS), constant(made.group_lines)]
    if x.rows > blocks:
        operands = [weights, _by(source, width * _F32), scales, _by(out.operand, out_width * _F32)]
        scalars = [constant(blocks), *lines, COUNT, constant(out_width)]
        steps.add(label, KernelInstance("ternary_float_gemm_store"), x.rows, operands, scalars, _TOKENS)
    else:
        operands = [
            replace(weights, unit_stride=ROWS * width // 4),
            source,
            replace(scales, unit_stride=made.groups * ROWS * _F32),
            _by(out.operand, ROWS * _F32),
        ]
        if x.rows == 1:
            steps.add(label, KernelInstance("ternary_float_gemv_store"), blocks, operands, [COUNT, *lines])
        else:
            scalars = [COUNT, *lines, constant(x.rows), constant(out_width)]
            steps.add(label, KernelInstance("ternary_float_gemm_store"), blocks, operands, scalars)
    return _unpadded(steps, label, out, matrix.rows)


def _scales_of_blocks(
    steps: Steps, label: str, weight_scale: relax.Var, matrix: Packed
) -> tuple[str, Argument]:
    """An epilogue, and its scales: float32 [blocks], or [blocks][16 rows] where rows have their own."""
    blocks = align(matrix.rows, ROWS) // ROWS
    if not steps.sections.has_row_scales(weight_scale):
        one = steps.sections.block_scales(matrix.name, [weight_scale], [blocks], blocks)
        return "store", replace(one, unit_stride=_F32)
    shape = [int(size) for size in weight_scale.ty.shape.values]
    if shape != [matrix.rows]:
        raise CompileError(
            f"node {label}: tensor {steps.sections.name(weight_scale)}: {shape} scales of a matrix "
            f"[{matrix.rows}, {matrix.columns}] that int8 meets, expected [1] or [{matrix.rows}]; scales of "
            "groups of columns go with floats (TernaryMatMul)"
        )
    scales = steps.sections.matrix_scales(weight_scale, matrix)
    made = group_scales([scales], False, blocks)
    offset = steps.sections.weights.add(f"{matrix.name}.group_scale", made.size, made.chunks)
    return "store_by_row", Argument(Space.WEIGHTS, offset, unit_stride=ROWS * _F32)


def _padded(steps: Steps, label: str, x: Value) -> Operand:
    """Rows of a multiple of 64 features."""
    features, width = x.shape[-1], pad(x.shape[-1])
    if width == features:
        return x.operand
    rows = steps.kept_zeros(f"{label}.rows", x.rows * width * _F32)
    steps.add_stage(label, _copy("pad_rows", x.rows, features, features, width), [x.operand, rows])
    return rows


def _unpadded(steps: Steps, label: str, out: Value, features: int) -> Value:
    """The first ``features`` of each row."""
    if out.shape[-1] == features:
        return out
    dense = steps.dense(label, [*out.shape[:-1], features], "float32")
    copy = _copy("take_rows", out.rows, features, out.shape[-1], features)
    steps.add_stage(label, copy, [out.operand, dense.operand])
    return dense


def _by(operand: Operand, unit_stride: int) -> Operand:
    return replace(operand, unit_stride=unit_stride)


def _copy(name: str, rows: int, columns: int, source_width: int, target_width: int) -> Stage:
    (stage,) = stages_of(copy_rows(rows, columns, source_width, target_width))
    return replace(stage, name=name)
