"""Kernel `head_rows`: rows of the embedding from its two planes, every bit as it was in the bfloat16 table.

For token embeddings and for the rows whose logits are computed exactly. One schedule serves every tier.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import LANES, Expr, bf16_to_f32, splat, vector
from .tier import Tier

OUTLIERS = 16


def head_rows(tier: Tier) -> PrimFunc:
    """out[i] = row rows[i], widened; the layout is that of edgebit/compiler/head_planes.py.

    Buffers: rows int32 [count], plane1, plane2, bounds, escape_index, escapes, outliers, out float32
    [count][stride]. Scalars: count, W / 256, stride (a multiple of 64, at most W). Sections are below 2³¹
    bytes.
    """

    @T.inline
    def patch(out: Expr, i: Expr, column: Expr, bits: Expr, stride: Expr) -> None:
        if T.cast(column, "int32") < stride:
            out[i, T.cast(column, "int32")] = bf16_to_f32(bits)

    @T.prim_func(s_tir=True)
    def kernel(
        rows_data: T.handle,
        plane1_data: T.handle,
        plane2_data: T.handle,
        bounds_data: T.handle,
        index_data: T.handle,
        escapes_data: T.handle,
        outliers_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        groups: T.int32,
        stride: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        vocabulary, blocks, escaped = T.int32(), T.int32(), T.int32()
        rows = T.match_buffer(rows_data, (count,), "int32")
        plane1 = T.match_buffer(plane1_data, (vocabulary, groups * 3 + 2, 64), "uint8")
        plane2 = T.match_buffer(plane2_data, (vocabulary, groups * 5, 64), "uint8")
        bounds = T.match_buffer(bounds_data, (blocks, 5, 16), "float32")
        index = T.match_buffer(index_data, (vocabulary + 1,), "int32")
        escapes = T.match_buffer(escapes_data, (escaped, 2), "uint16")
        outliers = T.match_buffer(outliers_data, (vocabulary + 1, OUTLIERS), "uint16")
        out = T.match_buffer(out_data, (count, stride), "float32")
        for i in range(count):
            row: T.let = rows[i]
            unit: T.let = bounds[row // 16, 0, row % 16] * T.float32(2.0**-8)
            for line, quarter in T.grid(stride // 64, 64 // LANES):
                lanes: T.let = vector(quarter * LANES, LANES)
                nibble: T.let = _field(
                    plane1[row, 2 + line // 4 * 3 + line % 4 // 2, lanes], line % 2 * 4, 15
                )
                crumb: T.let = _field(plane1[row, 4 + line // 4 * 3, lanes], line % 4 * 2, 3)
                middle: T.let = _field(plane2[row, groups * 4 + line // 4, lanes], line % 4 * 2, 3)
                low: T.let = T.cast(plane2[row, line, lanes], "int32x16")
                high: T.let = nibble * splat(4096, LANES) + crumb * splat(1024, LANES)
                code: T.let = high + middle * splat(256, LANES) + (low - splat(32768, LANES))
                out[i, vector(line * 64 + quarter * LANES, LANES)] = T.cast(code, "float32x16") * splat(
                    unit, LANES
                )
            for k in range(index[row + 1] - index[row]):
                patch(out, i, escapes[index[row] + k, 0], escapes[index[row] + k, 1], stride)
            for k in range(OUTLIERS):
                patch(out, i, outliers[0, k], outliers[row + 1, k], stride)

    return kernel


def _field(line: Expr, shift: Expr, mask: int) -> Expr:
    """A field of 16 bytes, as int32."""
    return T.bitwise_and(T.shift_right(T.cast(line, "int32x16"), splat(shift, LANES)), splat(mask, LANES))
