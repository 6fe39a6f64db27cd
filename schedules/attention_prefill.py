"""Attention of many tokens: tiles of queries against the chunks of keys they may see.

The definition is in attention_chunk.py. A tile holds the query heads of one key head for QUERY_TILE
tokens, one row each, token by token; a converted vector of keys or values meets `Shape.rows` of them.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .attention_chunk import (
    KEY_CHUNK,
    LOWEST,
    Shape,
    row_maximum,
    row_weights,
    score_tile,
    value_tile,
)
from .float_ops import LANES, Expr, constant, exp, mul, splat, vector
from .float_tier import query_rows
from .kv_cache import KEY_BLOCK, element_type, scales_of
from .tier import Tier

QUERY_TILE = 8
"""Tokens that a unit of work takes together."""

_M, _S, _RUNNING_M, _RUNNING_S, _A, _B = range(6)
"""Rows of statistics in the scratch: of the chunk, so far, and the factors of the merge."""


def prefill_scratch(head_dim: int, group: int) -> int:
    """Bytes of scratch that attention_prefill needs on each thread."""
    return 4 * (group * QUERY_TILE * (2 * head_dim + KEY_CHUNK) + 6 * _padded_rows(group))


def attention_prefill(
    tier: Tier, head_dim: int, scale: float, group: int, kv: str = "f16", window: int = 0
) -> PrimFunc:
    """out[t][head] = attention of token t over the keys up to it, the last ``window`` of them if not 0.

    Unit u is the key head u % KV and the tile of QUERY_TILE tokens u / KV, tiles being numbered alternately
    from both ends: the later a token the more keys it sees, and threads that share the units evenly shall
    share the work evenly. No row of a token behind the last is read or written.

    Buffers: qkv [n][stride], keys and values (kv_cache.py), scratch (`prefill_scratch`), out [n][out_stride].
    Scalars: count and begin of the units (of ⌈n / QUERY_TILE⌉ · KV), n, position of the first token, stride,
    out_stride, KV, context.
    """
    tile_rows = query_rows(tier)
    tail_rows = tile_rows // 2
    shape = Shape.of(tier, head_dim, scale, group, kv, tile_rows)
    most_rows, padded_rows, row_vectors = group * QUERY_TILE, _padded_rows(group), head_dim // LANES
    lanes, last_columns = shape.column_lanes, head_dim % shape.columns

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
        keys = T.match_buffer(
            key_data, (kv_heads, T.shift_right(context, 4), head_dim, KEY_BLOCK), element_type(kv)
        )
        values = T.match_buffer(value_data, (kv_heads, context, head_dim), element_type(kv))
        scratch = T.match_buffer(scratch_data, (prefill_scratch(head_dim, group) // 4,), "float32")
        out = T.match_buffer(out_data, (tokens, out_stride), "float32")
        key_scales = scales_of(keys, kv_heads, context, head_dim)
        value_scales = scales_of(values, kv_heads, context, head_dim)
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
        row_lanes = T.alloc_buffer((LANES,), "float32")

        @T.inline
        def begin_tile(token: Expr, rows: Expr, head: Expr) -> None:
            for row in range(rows):
                for j in T.unroll(row_vectors):
                    query[row, vector(j * LANES, LANES)] = qkv[
                        token + T.truncdiv(row, group),
                        vector((head + T.truncmod(row, group)) * head_dim + j * LANES, LANES),
                    ]
                    total[row, vector(j * LANES, LANES)] = constant(0.0, LANES)
            for j in range(padded_rows // LANES):
                statistics[_RUNNING_M, vector(j * LANES, LANES)] = constant(LOWEST, LANES)
                statistics[_RUNNING_S, vector(j * LANES, LANES)] = constant(0.0, LANES)

        @T.inline
        def score(rows: int, row: Expr, blocks: int, kv_head: Expr, chunk: Expr, block: Expr) -> None:
            score_tile(
                shape,
                rows,
                blocks,
                query,
                row,
                keys,
                key_scales,
                kv_head,
                chunk,
                block,
                scores,
                row,
                score_acc,
            )

        @T.inline
        def score_all(rows: Expr, blocks: int, kv_head: Expr, chunk: Expr, block: Expr) -> None:
            for tile in range(_tiles(rows, tile_rows)):
                score(tile_rows, tile * tile_rows, blocks, kv_head, chunk, block)
            for tile in range(_tail_tiles(rows, tile_rows)):
                score(tail_rows, _tail(rows, tile_rows, tile), blocks, kv_head, chunk, block)

        @T.inline
        def merge_statistics() -> None:
            for j in range(padded_rows // LANES):
                old: T.let = statistics[_RUNNING_M, vector(j * LANES, LANES)]
                maximum: T.let = T.max(old, statistics[_M, vector(j * LANES, LANES)])
                old_distance: T.let = old - maximum
                new_distance: T.let = statistics[_M, vector(j * LANES, LANES)] - maximum
                a: T.let = exp(old_distance)
                b: T.let = exp(new_distance)
                statistics[_RUNNING_M, vector(j * LANES, LANES)] = maximum
                statistics[_A, vector(j * LANES, LANES)] = a
                statistics[_B, vector(j * LANES, LANES)] = b
                statistics[_RUNNING_S, vector(j * LANES, LANES)] = mul(
                    statistics[_RUNNING_S, vector(j * LANES, LANES)], a
                ) + mul(statistics[_S, vector(j * LANES, LANES)], b)

        @T.inline
        def add_values(
            rows: int, row: Expr, columns: int, column: Expr, kv_head: Expr, chunk: Expr, visible: Expr
        ) -> None:
            value_tile(
                shape,
                rows,
                columns,
                scores,
                row,
                values,
                kv_head,
                chunk * KEY_CHUNK,
                visible,
                column,
                value_acc,
            )
            for r in T.unroll(rows):
                a: T.let = splat(statistics[_A, row + r], lanes)
                b: T.let = splat(statistics[_B, row + r], lanes)
                for j in T.unroll(columns // lanes):
                    total[row + r, vector(column + j * lanes, lanes)] = mul(
                        total[row + r, vector(column + j * lanes, lanes)], a
                    ) + mul(value_acc[r, j, vector(0, lanes)], b)

        @T.inline
        def add_columns(
            rows: Expr, columns: int, column: Expr, kv_head: Expr, chunk: Expr, visible: Expr
        ) -> None:
            for tile in range(_tiles(rows, tile_rows)):
                add_values(tile_rows, tile * tile_rows, columns, column, kv_head, chunk, visible)
            for tile in range(_tail_tiles(rows, tile_rows)):
                add_values(tail_rows, _tail(rows, tile_rows, tile), columns, column, kv_head, chunk, visible)

        @T.inline
        def add_chunk(chunk: Expr, first: Expr, rows: Expr, kv_head: Expr, end: Expr) -> None:
            """`first`: position of the tile's first token; `end`: the number of keys its last one sees."""
            visible: T.let = T.min(end - chunk * KEY_CHUNK, KEY_CHUNK)
            blocks: T.let = T.shift_right(visible + KEY_BLOCK - 1, 4)
            # Keys and columns outside, rows inside: what a step reads stays in the L1 cache.
            for step in range(T.truncdiv(blocks, shape.key_blocks)):
                score_all(rows, shape.key_blocks, kv_head, chunk, step * shape.key_blocks)
            if shape.key_blocks > 1:
                for step in range(T.truncmod(blocks, shape.key_blocks)):
                    score_all(rows, 1, kv_head, chunk, blocks - 1 - step)
            for row in range(rows):
                row_maximum(
                    scores, row, blocks, _last_key(first, row, group, chunk), row_lanes,
                    _first_key(first, row, group, chunk, window),
                )  # fmt: skip
                statistics[_M, row] = row_lanes[0]
            for row in range(rows):
                row_weights(
                    shape, scores, row, blocks, _last_key(first, row, group, chunk), statistics[_M, row],
                    value_scales, kv_head, chunk, row_lanes, _first_key(first, row, group, chunk, window),
                )  # fmt: skip
                statistics[_S, row] = row_lanes[0]
            merge_statistics()
            for tile in range(head_dim // shape.columns):
                add_columns(rows, shape.columns, tile * shape.columns, kv_head, chunk, visible)
            if last_columns > 0:
                add_columns(rows, last_columns, head_dim - last_columns, kv_head, chunk, visible)

        for i in range(count):
            kv_head: T.let = T.truncmod(begin + i, kv_heads)
            token: T.let = QUERY_TILE * _from_both_ends(
                T.truncdiv(begin + i, kv_heads), T.truncdiv(tokens + QUERY_TILE - 1, QUERY_TILE)
            )
            here: T.let = T.min(tokens - token, QUERY_TILE)
            begin_tile(token, here * group, kv_head * group)
            chunks: T.let = T.truncdiv(position + token + here + KEY_CHUNK - 1, KEY_CHUNK)
            if window == 0:
                for chunk in range(chunks):
                    add_chunk(chunk, position + token, here * group, kv_head, position + token + here)
            else:
                unseen: T.let = T.truncdiv(T.max(position + token + 1 - window, 0), KEY_CHUNK)
                for chunk in range(unseen, chunks):
                    add_chunk(chunk, position + token, here * group, kv_head, position + token + here)
            for row in range(here * group):
                inverse: T.let = T.float32(1.0) / statistics[_RUNNING_S, row]
                for j in T.unroll(row_vectors):
                    out[
                        token + T.truncdiv(row, group),
                        vector((kv_head * group + T.truncmod(row, group)) * head_dim + j * LANES, LANES),
                    ] = total[row, vector(j * LANES, LANES)] * splat(inverse, LANES)

    return kernel


def _tiles(rows: Expr, tile_rows: int) -> Expr:
    return T.truncdiv(rows, tile_rows)


def _tail_tiles(rows: Expr, tile_rows: int) -> Expr:
    """Tiles of half the height for the rows that whole tiles leave; they may compute a few rows too many."""
    return T.truncdiv(T.truncmod(rows, tile_rows) + tile_rows // 2 - 1, tile_rows // 2)


def _tail(rows: Expr, tile_rows: int, tile: Expr) -> Expr:
    """First row of such a tile."""
    return _tiles(rows, tile_rows) * tile_rows + tile * (tile_rows // 2)


def _last_key(first: Expr, row: Expr, group: int, chunk: Expr) -> Expr:
    """The last key of a chunk that a row of a tile may see; `first` is the position of its first token."""
    return first + T.truncdiv(row, group) - chunk * KEY_CHUNK


def _first_key(first: Expr, row: Expr, group: int, chunk: Expr, window: int) -> Expr | None:
    """The first key of a chunk that a row of a tile may see, None where there is no window."""
    return None if window == 0 else _last_key(first, row, group, chunk) + 1 - window


def _padded_rows(group: int) -> int:
    """Rows of a tile in whole vectors."""
    return -(-group * QUERY_TILE // LANES) * LANES


def _from_both_ends(k: Expr, tiles: Expr) -> Expr:
    """0, tiles - 1, 1, tiles - 2, ..."""
    half = T.shift_right(k, 1)
    return T.if_then_else(T.bitwise_and(k, 1) == 0, half, tiles - 1 - half)
