"""Kernels of the lossy int8 head: logits from an int8 table, and the rows of tokens.

The table holds u8 codes, value + 128, of which edgebit/compiler/head_int8.py makes a row; the hidden state is
the int8 codes of kernel `quantize`. Products are summed in int32: |sum| ≤ W · 255 · 128, so W < 65,793.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

from .float_ops import LANES, splat, vector
from .head_screen import sum_lanes
from .tier import Tier

LINE = 64


def embedding_int8(tier: Tier) -> tirx.PrimFunc:
    """out[i] = (table[tokens[i]] - 128) · scale[tokens[i]].

    Buffers: tokens int32 [count], table u8 [V][P], scale [V], out float32 [count][P]. Scalars: count, P / 64.
    """

    @T.prim_func(s_tir=True)
    def kernel(
        tokens_data: T.handle,
        table_data: T.handle,
        scale_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        lines: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        vocabulary = T.int32()
        tokens = T.match_buffer(tokens_data, (count,), "int32")
        table = T.match_buffer(table_data, (vocabulary, lines, LINE), "uint8")
        scales = T.match_buffer(scale_data, (vocabulary,), "float32")
        out = T.match_buffer(out_data, (count, lines, LINE), "float32")
        for i in range(count):
            for line, quarter in T.grid(lines, LINE // LANES):
                lanes: T.let = vector(quarter * LANES, LANES)
                code: T.let = T.cast(table[tokens[i], line, lanes], "int32x16") - splat(128, LANES)
                out[i, line, lanes] = T.cast(code, "float32x16") * splat(scales[tokens[i]], LANES)

    return kernel


def lm_head_int8(tier: Tier) -> tirx.PrimFunc:
    """logits[v] = f32(table[v] · q - 128 Σq) · (scale[v] / s).

    Buffers: table u8 [count][P], scale [count], q int8 [P], Σq int32, s float32, logits [count]. Scalars:
    count, P / 64.
    """

    @T.prim_func(s_tir=True)
    def kernel(
        table_data: T.handle,
        scale_data: T.handle,
        q_data: T.handle,
        sum_data: T.handle,
        activation_scale: T.handle,
        logits_data: T.handle,
        count: T.int32,
        lines: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        table = T.match_buffer(table_data, (count, lines, LINE), "uint8")
        scales = T.match_buffer(scale_data, (count,), "float32")
        q = T.match_buffer(q_data, (lines, LINE), "int8")
        total = T.match_buffer(sum_data, (1,), "int32")
        s = T.match_buffer(activation_scale, (1,), "float32")
        logits = T.match_buffer(logits_data, (count,), "float32")
        sums = T.alloc_buffer((LANES,), "int32")
        for row in range(count):
            sums[vector(0, LANES)] = T.broadcast(0, LANES)
            for line, quarter in T.grid(lines, LINE // LANES):
                lanes: T.let = vector(quarter * LANES, LANES)
                codes: T.let = T.cast(table[row, line, lanes], "int16x16")
                products: T.let = codes * T.cast(q[line, lanes], "int16x16")
                sums[vector(0, LANES)] = sums[vector(0, LANES)] + T.cast(products, "int32x16")
            acc: T.let = sum_lanes(sums[vector(0, LANES)]) - 128 * total[0]
            logits[row] = T.cast(acc, "float32") * (scales[row] / s[0])

    return kernel
