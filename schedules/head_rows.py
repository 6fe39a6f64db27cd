"""Kernel `head_rows`: rows of the embedding from its two planes, every bit as it was in the bfloat16 table.

For token embeddings and for the rows whose logits are computed exactly. One schedule serves every tier.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .cache import Cache, prefetch
from .float_ops import LANES, Expr, bf16_to_f32, splat, vector
from .tier import Tier

OUTLIERS = 16
LINE = 64
PARTS = 4
BYTES = vector(0, LINE)


def head_rows(tier: Tier) -> PrimFunc:
    """out[i] = row rows[i], widened; the layout is that of edgebit/compiler/head_planes.py.

    Buffers: rows int32 [count], plane1, plane2, bounds, escape_index, escapes, outliers, out float32
    [count][stride]. Scalars: count, W / 256, stride (a multiple of 64, at most W), and whether plane2 holds
    just these rows, one after the other. Sections are below 2³¹ bytes.
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
        gathered: T.int32,
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
            ahead: T.let = rows[T.min(i + 1, count - 1)]
            second: T.let = T.if_then_else(gathered != 0, i, row)
            second_ahead: T.let = T.if_then_else(gathered != 0, i, ahead)
            for group in range(stride // 256):
                for line in T.unroll(3):
                    prefetch(plane1[ahead, 2 + group * 3 + line, 0], Cache.L2)
                for line in T.unroll(PARTS):
                    prefetch(plane2[second_ahead, group * PARTS + line, 0], Cache.L2)
                prefetch(plane2[second_ahead, groups * PARTS + group, 0], Cache.L2)
                for part in T.unroll(PARTS):
                    decode(plane1, plane2, row, second, group, part, groups, unit, out, i)
            for part in range(stride % 256 // LINE):
                decode(plane1, plane2, row, second, stride // 256, part, groups, unit, out, i)
            for k in range(index[row + 1] - index[row]):
                patch(out, i, escapes[index[row] + k, 0], escapes[index[row] + k, 1], stride)
            for k in range(OUTLIERS):
                patch(out, i, outliers[0, k], outliers[row + 1, k], stride)

    return kernel


def _high_bytes(nibbles: Expr, crumbs: Expr, middles: Expr, part: Expr) -> Expr:
    """The upper bytes of the codes of a part: uint8x64; masks cut off what shifts carry into another byte."""
    nibble = _masked(T.shift_left(_shifted(nibbles, part % 2 * 4), _words(4)), 0xF0)
    crumb = _masked(T.shift_left(_shifted(crumbs, part * 2), _words(2)), 0x0C)
    return T.bitwise_or(T.bitwise_or(nibble, crumb), _masked(_shifted(middles, part * 2), 0x03))


def _words(value: Expr) -> Expr:
    return T.broadcast(T.cast(value, "uint32"), LINE // 4)


def _shifted(line: Expr, bits: Expr) -> Expr:
    return T.shift_right(T.reinterpret(line, dtype="uint32x16"), _words(bits))


def _masked(words: Expr, mask: int) -> Expr:
    return T.bitwise_and(T.reinterpret(words, dtype="uint8x64"), T.broadcast(T.uint8(mask), LINE))


def _sixteen(line: Expr, quarter: int) -> Expr:
    """A quarter of a line, as int32."""
    half = (T.vectorhigh if quarter // 2 else T.vectorlow)(line, dtype="uint8x32")
    return T.cast((T.vectorhigh if quarter % 2 else T.vectorlow)(half, dtype="uint8x16"), "int32x16")


def _values(high: Expr, low: Expr, quarter: int, unit: Expr) -> Expr:
    code = T.shift_left(_sixteen(high, quarter), splat(8, LANES)) + _sixteen(low, quarter)
    return T.cast(code - splat(32768, LANES), "float32x16") * splat(unit, LANES)


@T.inline
def decode(
    plane1: Expr,
    plane2: Expr,
    row: Expr,
    second: Expr,
    group: Expr,
    part: Expr,
    groups: Expr,
    unit: Expr,
    out: Expr,
    i: Expr,
) -> None:
    """64 columns of a row, without escapes; ``second`` is its index in plane 2."""
    line: T.let = group * PARTS + part
    high: T.let = _high_bytes(
        plane1[row, 2 + group * 3 + part // 2, BYTES],
        plane1[row, 4 + group * 3, BYTES],
        plane2[second, groups * PARTS + group, BYTES],
        part,
    )
    low: T.let = plane2[second, line, BYTES]
    out[i, vector(line * LINE, LANES)] = _values(high, low, 0, unit)
    out[i, vector(line * LINE + 16, LANES)] = _values(high, low, 1, unit)
    out[i, vector(line * LINE + 32, LANES)] = _values(high, low, 2, unit)
    out[i, vector(line * LINE + 48, LANES)] = _values(high, low, 3, unit)
