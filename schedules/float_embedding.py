"""Token embedding: rows of a bfloat16 table, widened. One schedule serves every tier."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_ops import ALL, LANES, bf16_to_f32
from .tier import Tier


def embedding(tier: Tier) -> PrimFunc:
    """out[i] = table[tokens[i]], exactly.

    Buffers: tokens int32 [count], table bfloat16 as uint16 [V][P], out float32 [count][P].
    Scalars: count, P / 16. Indices are int32: V · P < 2³¹.
    """

    @T.prim_func(s_tir=True)
    def kernel(
        tokens_data: T.handle, table_data: T.handle, out_data: T.handle, count: T.int32, blocks: T.int32
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        vocabulary = T.int32()
        tokens = T.match_buffer(tokens_data, (count,), "int32")
        table = T.match_buffer(table_data, (vocabulary, blocks, LANES), "uint16")
        out = T.match_buffer(out_data, (count, blocks, LANES), "float32")
        for i in range(count):
            for block in range(blocks):
                out[i, block, ALL] = bf16_to_f32(table[tokens[i], block, ALL])

    return kernel
