"""Attention of one token: chunks of keys on their own, so that threads share a long context, and the merge.

The definition is in attention_chunk.py.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .attention_chunk import (
    CHUNK_BLOCKS,
    KEY_CHUNK,
    LOWEST,
    Shape,
    row_maximum,
    row_weights,
    score_tile,
    value_tile,
)
from .float_ops import ALL, LANES, Expr, constant, exp, mul, splat, vector
from .float_tier import query_rows
from .kv_cache import KEY_BLOCK, element_type, scales_of
from .tier import Tier

MERGE_CHUNKS = 16
"""Chunks whose factors are computed together: a lane is a chunk."""


def attention_decode(
    tier: Tier, head_dim: int, scale: float, group: int, kv: str = "f16", window: int = 0
) -> PrimFunc:
    """o, m and s of one chunk of keys for all query heads of a key head, which read keys and values once.

    ``window``: keys that a token sees, its own the last of them; 0: all. A chunk before them is not read.

    Unit u is chunk u / KV and key head u % KV; a chunk that begins behind the position is left as it is.

    Buffers: qkv row, keys and values (kv_cache.py), scratch [group][KEY_CHUNK] (at most 8 KB), out
    [⌈context / KEY_CHUNK⌉][H][D], statistics [⌈context / KEY_CHUNK⌉][H][2] (m, s). Scalars: count and begin
    of the units, position, KV, context.
    """
    rows = -(-group // -(-group // query_rows(tier)))  # equal passes
    shape = Shape.of(tier, head_dim, scale, group, kv, rows)
    whole, rest = divmod(group, rows)
    lanes, last_columns = shape.column_lanes, head_dim % shape.columns

    @T.prim_func(s_tir=True)
    def kernel(
        qkv_data: T.handle,
        key_data: T.handle,
        value_data: T.handle,
        scratch_data: T.handle,
        out_data: T.handle,
        statistics_data: T.handle,
        count: T.int32,
        begin: T.int32,
        position: T.int32,
        kv_heads: T.int32,
        context: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        query = T.match_buffer(qkv_data, (kv_heads * group, head_dim), "float32")
        keys = T.match_buffer(
            key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), element_type(kv)
        )
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), element_type(kv))
        scores = T.match_buffer(scratch_data, (group, KEY_CHUNK), "float32")
        out = T.match_buffer(out_data, (_chunks(context), kv_heads * group, head_dim), "float32")
        statistics = T.match_buffer(statistics_data, (_chunks(context), kv_heads * group, 2), "float32")
        key_scales = scales_of(keys, kv_heads, context, head_dim)
        value_scales = scales_of(values, kv_heads, context, head_dim)
        score_acc = T.alloc_buffer(shape.score_tile, "float32")
        value_acc = T.alloc_buffer(shape.value_tile, "float32")
        row_lanes = T.alloc_buffer((LANES,), "float32")

        @T.inline
        def score(rows: int, row: Expr, blocks: int, kv_head: Expr, chunk: Expr, block: Expr) -> None:
            score_tile(
                shape, rows, blocks, query, kv_head * group + row, keys, key_scales, kv_head, chunk, block,
                scores, row, score_acc, values,
            )  # fmt: skip

        @T.inline
        def score_group(blocks: int, kv_head: Expr, chunk: Expr, block: Expr) -> None:
            for tile in range(whole):
                score(rows, tile * rows, blocks, kv_head, chunk, block)
            if rest > 0:
                score(rest, whole * rows, blocks, kv_head, chunk, block)

        @T.inline
        def sum_columns(
            rows: int,
            row: Expr,
            columns: int,
            column: Expr,
            unit: Expr,
            kv_head: Expr,
            chunk: Expr,
            visible: Expr,
        ) -> None:
            value_tile(
                shape, rows, columns, scores, row, values, kv_head, chunk * KEY_CHUNK, visible, column,
                value_acc, keys, T.truncmod(unit + 1, kv_heads),
                T.truncdiv(unit + 1, kv_heads) * CHUNK_BLOCKS,
            )  # fmt: skip
            for r in T.unroll(rows):
                for j in T.unroll(columns // lanes):
                    out[chunk, kv_head * group + row + r, vector(column + j * lanes, lanes)] = value_acc[
                        r, j, vector(0, lanes)
                    ]

        @T.inline
        def sum_values(rows: int, row: Expr, unit: Expr, kv_head: Expr, chunk: Expr, visible: Expr) -> None:
            for tile in range(head_dim // shape.columns):
                sum_columns(rows, row, shape.columns, tile * shape.columns, unit, kv_head, chunk, visible)
            if last_columns > 0:
                sum_columns(rows, row, last_columns, head_dim - last_columns, unit, kv_head, chunk, visible)

        @T.inline
        def attend(
            unit: Expr, kv_head: Expr, chunk: Expr, visible: Expr, blocks: Expr, first: Expr | None
        ) -> None:
            head: T.let = kv_head * group
            for step in range(T.truncdiv(blocks, shape.key_blocks)):
                score_group(shape.key_blocks, kv_head, chunk, step * shape.key_blocks)
            if shape.key_blocks > 1:
                for step in range(T.truncmod(blocks, shape.key_blocks)):
                    score_group(1, kv_head, chunk, blocks - 1 - step)
            for row in range(group):
                row_maximum(scores, row, blocks, visible - 1, row_lanes, first)
                statistics[chunk, head + row, 0] = row_lanes[0]
            for row in range(group):
                row_weights(
                    shape, scores, row, blocks, visible - 1, statistics[chunk, head + row, 0],
                    value_scales, kv_head, chunk, row_lanes, first,
                )  # fmt: skip
                statistics[chunk, head + row, 1] = row_lanes[0]
            for tile in range(whole):
                sum_values(rows, tile * rows, unit, kv_head, chunk, visible)
            if rest > 0:
                sum_values(rest, whole * rows, unit, kv_head, chunk, visible)

        @T.inline
        def see_nothing(kv_head: Expr, chunk: Expr) -> None:
            for row in range(group):
                statistics[chunk, kv_head * group + row, 0] = T.float32(LOWEST)
                statistics[chunk, kv_head * group + row, 1] = T.float32(0.0)
                for j in range(head_dim // LANES):
                    out[chunk, kv_head * group + row, vector(j * LANES, LANES)] = constant(0.0, LANES)

        for i in range(count):
            unit: T.let = begin + i
            chunk: T.let = T.truncdiv(unit, kv_heads)
            kv_head: T.let = T.truncmod(unit, kv_heads)
            visible: T.let = T.min(position + 1 - chunk * KEY_CHUNK, KEY_CHUNK)
            blocks: T.let = T.shift_right(visible + KEY_BLOCK - 1, 4)
            if visible > 0:
                if window == 0:
                    attend(unit, kv_head, chunk, visible, blocks, None)
                else:
                    first: T.let = position + 1 - window - chunk * KEY_CHUNK
                    if first < KEY_CHUNK:
                        attend(unit, kv_head, chunk, visible, blocks, first)
                    else:
                        see_nothing(kv_head, chunk)

    return kernel


def attention_merge(tier: Tier, head_dim: int) -> PrimFunc:
    """The chunks of attention_decode, merged in ascending order, and divided: the output of every head.

    Buffers: partial [context / KEY_CHUNK][H][D], statistics [context / KEY_CHUNK][H][2] (m, s), out [H][D].
    Scalars: count of heads to merge, position, H.
    """
    vectors = head_dim // LANES

    @T.inline
    def factors(
        statistics: Expr, head: Expr, first: Expr, here: Expr, maximum: Expr, old: Expr, new: Expr, part: Expr
    ) -> None:
        """old[c], new[c]: what S and O so far, and chunk first + c, are multiplied by."""
        for c in T.unroll(MERGE_CHUNKS):
            part[c] = T.float32(LOWEST)
        for c in range(here):
            part[c] = statistics[first + c, head, 0]
        for c in T.unroll(MERGE_CHUNKS):
            old[c] = maximum[0]
            maximum[0] = T.max(maximum[0], part[c])
            new[c] = maximum[0]
        old_distance: T.let = old[ALL] - new[ALL]
        new_distance: T.let = part[ALL] - new[ALL]
        old[ALL] = exp(old_distance)
        new[ALL] = exp(new_distance)

    @T.prim_func(s_tir=True)
    def kernel(
        partial_data: T.handle,
        statistics_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        position: T.int32,
        heads: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        partial = T.match_buffer(partial_data, (_chunks(position + 1), heads, vectors, LANES), "float32")
        statistics = T.match_buffer(statistics_data, (_chunks(position + 1), heads, 2), "float32")
        out = T.match_buffer(out_data, (heads, vectors, LANES), "float32")
        total = T.alloc_buffer((vectors, LANES), "float32")
        weight = T.alloc_buffer((1,), "float32")
        maximum = T.alloc_buffer((1,), "float32")
        old = T.alloc_buffer((MERGE_CHUNKS,), "float32")
        new = T.alloc_buffer((MERGE_CHUNKS,), "float32")
        part = T.alloc_buffer((MERGE_CHUNKS,), "float32")
        for head in range(count):
            visible: T.let = _chunks(position + 1)
            maximum[0] = T.float32(LOWEST)
            weight[0] = T.float32(0.0)
            for j in T.unroll(vectors):
                total[j, ALL] = constant(0.0, LANES)
            for step in range(T.truncdiv(visible + MERGE_CHUNKS - 1, MERGE_CHUNKS)):
                first: T.let = step * MERGE_CHUNKS
                here: T.let = T.min(visible - first, MERGE_CHUNKS)
                factors(statistics, head, first, here, maximum, old, new, part)
                for c in range(here):
                    a: T.let = old[c]
                    b: T.let = new[c]
                    weight[0] = mul(weight[0], a) + mul(statistics[first + c, head, 1], b)
                    for j in T.unroll(vectors):
                        total[j, ALL] = mul(total[j, ALL], splat(a, LANES)) + mul(
                            partial[first + c, head, j, ALL], splat(b, LANES)
                        )
            inverse: T.let = T.float32(1.0) / weight[0]
            for j in T.unroll(vectors):
                out[head, j, ALL] = total[j, ALL] * splat(inverse, LANES)

    return kernel


def _chunks(keys: Expr) -> Expr:
    return T.truncdiv(keys + KEY_CHUNK - 1, KEY_CHUNK)
