"""Attention of many tokens: tiles of queries against the chunks of keys they may see.

The definition is in attention_chunk.py. A tile holds the query heads of one key head for QUERY_TILE
tokens, one row each, token by token; a converted vector of keys or values meets `Shape.rows` of them.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .attention_chunk import (
    CHUNK_BLOCKS,
    KEY_CHUNK,
    LOWEST,
    Shape,
    score_rows,
    softmax_row,
    value_tile,
)
from .float_ops import LANES, Expr, constant, exp, mul, splat, vector
from .float_rope import KEY_BLOCK
from .float_tier import query_rows
from .tier import Tier

QUERY_TILE = 8
"""Tokens that a unit of work takes together."""

_M, _S, _RUNNING_M, _RUNNING_S, _A, _B = range(6)
"""Rows of statistics in the scratch: of the chunk, so far, and the factors of the merge."""


def prefill_scratch(head_dim: int, group: int) -> int:
    """Bytes of scratch that attention_prefill needs on each thread."""
    return 4 * (group * QUERY_TILE * (2 * head_dim + KEY_CHUNK) + 6 * _padded_rows(group))


def attention_prefill(tier: Tier, head_dim: int, scale: float, group: int) -> PrimFunc:
    """out[t][head] = attention of token t over the keys up to it.

    Unit u is the key head u % KV and the tile of QUERY_TILE tokens u / KV, tiles being numbered alternately
    from both ends: the later a token the more keys it sees, and threads that share the units evenly shall
    share the work evenly. No row of a token behind the last is read or written.

    Buffers: qkv [n][stride], key cache uint16 [KV][context / 16][D][16], value cache uint16 [KV][context][D],
    scratch (`prefill_scratch`), out [n][out_stride]. Scalars: count and begin of the units (of
    ⌈n / QUERY_TILE⌉ · KV), n, position of the first token, stride, out_stride, KV, context.
    """
    tile_rows = query_rows(tier)
    tail_rows = tile_rows // 2
    shape = Shape.of(tier, head_dim, scale, group, tile_rows)
    most_rows, padded_rows, row_vectors = group * QUERY_TILE, _padded_rows(group), head_dim // LANES
    lanes = shape.column_lanes

    @T.inline
    def begin_tile(
        qkv: Expr, token: Expr, here: Expr, kv_head: Expr, query: Expr, total: Expr, statistics: Expr
    ) -> None:
        for t in range(here):
            for h in range(group):
                for j in T.unroll(row_vectors):
                    query[t * group + h, vector(j * LANES, LANES)] = qkv[
                        token + t, vector((kv_head * group + h) * head_dim + j * LANES, LANES)
                    ]
        for row in range(here * group):
            for j in T.unroll(row_vectors):
                total[row, vector(j * LANES, LANES)] = constant(0.0, LANES)
        for i in range(padded_rows // LANES):
            statistics[_RUNNING_M, vector(i * LANES, LANES)] = constant(LOWEST, LANES)
            statistics[_RUNNING_S, vector(i * LANES, LANES)] = constant(0.0, LANES)

    @T.inline
    def merge_statistics(statistics: Expr) -> None:
        for i in range(padded_rows // LANES):
            old: T.let = statistics[_RUNNING_M, vector(i * LANES, LANES)]
            maximum: T.let = T.max(old, statistics[_M, vector(i * LANES, LANES)])
            old_distance: T.let = old - maximum
            new_distance: T.let = statistics[_M, vector(i * LANES, LANES)] - maximum
            a: T.let = exp(old_distance)
            b: T.let = exp(new_distance)
            statistics[_RUNNING_M, vector(i * LANES, LANES)] = maximum
            statistics[_A, vector(i * LANES, LANES)] = a
            statistics[_B, vector(i * LANES, LANES)] = b
            statistics[_RUNNING_S, vector(i * LANES, LANES)] = mul(
                statistics[_RUNNING_S, vector(i * LANES, LANES)], a
            ) + mul(statistics[_S, vector(i * LANES, LANES)], b)

    @T.inline
    def add_values(
        rows: int,
        columns: int,
        column: Expr,
        row: Expr,
        kv_head: Expr,
        chunk: Expr,
        visible: Expr,
        scores: Expr,
        values: Expr,
        statistics: Expr,
        total: Expr,
        acc: Expr,
    ) -> None:
        value_tile(
            shape, rows, columns, scores, row, values, kv_head, chunk * KEY_CHUNK, visible, column, acc
        )
        for r in T.unroll(rows):
            a: T.let = splat(statistics[_A, row + r], lanes)
            b: T.let = splat(statistics[_B, row + r], lanes)
            for j in T.unroll(columns // lanes):
                total[row + r, vector(column + j * lanes, lanes)] = mul(
                    total[row + r, vector(column + j * lanes, lanes)], a
                ) + mul(acc[r, j, vector(0, lanes)], b)

    @T.inline
    def add_columns(
        columns: int,
        column: Expr,
        here: Expr,
        kv_head: Expr,
        chunk: Expr,
        visible: Expr,
        scores: Expr,
        values: Expr,
        statistics: Expr,
        total: Expr,
        acc: Expr,
    ) -> None:
        """All rows of the tile, so that the columns of the chunk stay in the first cache."""
        whole: T.let = T.truncdiv(here * group, tile_rows)
        for i in range(whole):
            add_values(
                tile_rows,
                columns,
                column,
                i * tile_rows,
                kv_head,
                chunk,
                visible,
                scores,
                values,
                statistics,
                total,
                acc,
            )
        for i in range(_tail_tiles(here * group, tile_rows)):
            add_values(
                tail_rows,
                columns,
                column,
                whole * tile_rows + i * tail_rows,
                kv_head,
                chunk,
                visible,
                scores,
                values,
                statistics,
                total,
                acc,
            )

    @T.prim_func(s_tir=True)
    def kernel(
        qkv_data: T.handle,
        key_data: T.handle,
        value_data: T.handle,
        scratch_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        position: T.int32,
        stride: T.int32,
        out_stride: T.int32,
        kv_heads: T.int32,
        context: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        qkv = T.match_buffer(qkv_data, (tokens, stride), "float32")
        keys = T.match_buffer(key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), "uint16")
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), "uint16")
        scratch = T.match_buffer(scratch_data, (prefill_scratch(head_dim, group) // 4,), "float32")
        out = T.match_buffer(out_data, (tokens, out_stride), "float32")
        query = T.decl_buffer((most_rows, head_dim), "float32", scratch.data)
        total = T.decl_buffer(
            (most_rows, head_dim), "float32", scratch.data, elem_offset=most_rows * head_dim
        )
        scores = T.decl_buffer(
            (most_rows, KEY_CHUNK), "float32", scratch.data, elem_offset=2 * most_rows * head_dim
        )
        statistics = T.decl_buffer(
            (6, padded_rows), "float32", scratch.data, elem_offset=most_rows * (2 * head_dim + KEY_CHUNK)
        )
        score_acc = T.alloc_buffer(shape.score_tile, "float32")
        value_acc = T.alloc_buffer(shape.value_tile, "float32")
        row_lanes = T.alloc_buffer((2, LANES), "float32")
        for i in range(count):
            tiles: T.let = T.truncdiv(tokens + QUERY_TILE - 1, QUERY_TILE)
            kv_head: T.let = T.truncmod(begin + i, kv_heads)
            token: T.let = _from_both_ends(T.truncdiv(begin + i, kv_heads), tiles) * QUERY_TILE
            here: T.let = T.min(tokens - token, QUERY_TILE)
            whole: T.let = T.truncdiv(here * group, tile_rows)
            end: T.let = position + token + here  # keys that the last token sees
            begin_tile(qkv, token, here, kv_head, query, total, statistics)
            for chunk in range(T.truncdiv(end + KEY_CHUNK - 1, KEY_CHUNK)):
                visible: T.let = T.min(end - chunk * KEY_CHUNK, KEY_CHUNK)
                blocks: T.let = T.shift_right(visible + KEY_BLOCK - 1, 4)
                for tile in range(whole):
                    score_rows(
                        shape,
                        tile_rows,
                        query,
                        tile * tile_rows,
                        keys,
                        kv_head,
                        chunk * CHUNK_BLOCKS,
                        blocks,
                        scores,
                        tile * tile_rows,
                        score_acc,
                    )
                for tile in range(_tail_tiles(here * group, tile_rows)):
                    score_rows(
                        shape,
                        tail_rows,
                        query,
                        whole * tile_rows + tile * tail_rows,
                        keys,
                        kv_head,
                        chunk * CHUNK_BLOCKS,
                        blocks,
                        scores,
                        whole * tile_rows + tile * tail_rows,
                        score_acc,
                    )
                for row in range(here * group):
                    last: T.let = position + token + T.truncdiv(row, group) - chunk * KEY_CHUNK
                    softmax_row(scores, row, blocks, last, row_lanes)
                    statistics[_M, row] = row_lanes[0, 0]
                    statistics[_S, row] = row_lanes[1, 0]
                merge_statistics(statistics)
                for tile in range(head_dim // shape.columns):
                    add_columns(
                        shape.columns,
                        tile * shape.columns,
                        here,
                        kv_head,
                        chunk,
                        visible,
                        scores,
                        values,
                        statistics,
                        total,
                        value_acc,
                    )
                if head_dim % shape.columns > 0:
                    add_columns(
                        head_dim % shape.columns,
                        head_dim - head_dim % shape.columns,
                        here,
                        kv_head,
                        chunk,
                        visible,
                        scores,
                        values,
                        statistics,
                        total,
                        value_acc,
                    )
            for row in range(here * group):
                inverse: T.let = T.float32(1.0) / statistics[_RUNNING_S, row]
                for j in T.unroll(row_vectors):
                    start: T.let = (kv_head * group + T.truncmod(row, group)) * head_dim + j * LANES
                    out[token + T.truncdiv(row, group), vector(start, LANES)] = total[
                        row, vector(j * LANES, LANES)
                    ] * splat(inverse, LANES)

    return kernel


def _padded_rows(group: int) -> int:
    """Rows of a tile in whole vectors."""
    return -(-group * QUERY_TILE // LANES) * LANES


def _tail_tiles(rows: Expr, tile_rows: int) -> Expr:
    """Tiles of half the height that cover what whole tiles leave."""
    half = tile_rows // 2
    return T.truncdiv(T.truncmod(rows, tile_rows) + half - 1, half)


def _from_both_ends(k: Expr, tiles: Expr) -> Expr:
    """0, tiles - 1, 1, tiles - 2, ..."""
    half = T.shift_right(k, 1)
    return T.if_then_else(T.bitwise_and(k, 1) == 0, half, tiles - 1 - half)
