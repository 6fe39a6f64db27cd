"""Attention of some query rows to one chunk of keys: what decode and prefill have in common.

The canonical result (NUMERICS, "exactp"), the same bits on every tier and however tokens are split:

* Keys are taken in chunks of KEY_CHUNK. In a chunk, score = (Σ_d q[d]·k[d] in the order of d, one chain per
  key) · scale; m = the largest visible score; p = `exp_rounded`(score - m), 0 where a key is not visible;
  s = Σ p in 16 lane sums over blocks of 16 keys and their tree; o[d] = Σ p·v[d] in the order of keys, one
  chain per d.
* Chunks are merged in ascending order: with m' = max(M, m), a = exp(M - m'), b = exp(m - m'):
  S = S·a + s·b, O = O·a + o·b. The output is O · (1 / S).
* An int8 cache: k and v are codes, a score is multiplied by the key's scale as well, and o sums p'·v with
  p' = round13(p · the value's scale).

Queries (rounded by `rope_append`), p and p' have 13 significant bits, float16 has 11: products are exact in
float32, a fused multiply-add gives the same bits as a product and a sum, and no fence is needed.
Relative L2 error against attention in double precision over an unquantised cache (test_float_attention.py):
2.4e-4 with a float16 cache, 8.5e-3 with int8.
A sliding window hides the keys before the last ``window`` up to a token's own.
Without a visible key m = LOWEST, s = 0, o = 0, and the merge changes nothing. Values behind the last visible
position are not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm.script import tirx as T

from .float_ops import (
    ALL,
    LANES,
    Expr,
    constant,
    exp_rounded,
    mul,
    round_significant,
    splat,
    tree_max,
    tree_sum,
    vector,
)
from .float_tier import accumulator_registers, native_f16, register_lanes
from .kv_cache import EXACT_BITS, KEY_BLOCK, element_bytes, widen
from .tier import Tier

KEY_CHUNK = 128
"""Keys whose softmax is computed together; also the unit of work that decode deals to threads."""

CHUNK_BLOCKS = KEY_CHUNK // KEY_BLOCK

LOWEST = -3.4028234663852886e38
"""The smallest finite float32: maximum of no scores."""


@dataclass(frozen=True)
class Shape:
    """What an attention kernel is specialised for, and the register tiles that follow from it.

    A score tile is `rows` queries by `key_blocks` blocks of keys, `key_lanes` keys of each block at a time; a
    value tile is `rows` queries by `columns` of the head dimension, in vectors of `column_lanes`.
    """

    head_dim: int
    scale: float
    group: int
    kv: str
    native: bool
    rows: int
    key_blocks: int
    key_lanes: int
    columns: int
    column_lanes: int

    @staticmethod
    def of(tier: Tier, head_dim: int, scale: float, group: int, kv: str, rows: int) -> Shape:
        """Tiles of `rows` queries that fill the accumulators of the tier."""
        lanes = max(1, accumulator_registers(tier) // rows) * register_lanes(tier)  # for each query
        lanes = 1 << (lanes.bit_length() - 1) if lanes < LANES else lanes // LANES * LANES
        passes = -(-head_dim // lanes)
        blocks = max(1, min(CHUNK_BLOCKS, lanes // KEY_BLOCK))
        return Shape(
            head_dim=head_dim,
            scale=scale,
            group=group,
            kv=kv,
            native=native_f16(tier),
            rows=rows,
            key_blocks=1 << (blocks.bit_length() - 1),
            key_lanes=min(lanes, KEY_BLOCK),
            columns=lanes if lanes < LANES else -(-head_dim // passes // LANES) * LANES,
            column_lanes=min(lanes, LANES),
        )

    @property
    def line(self) -> int:
        """Cache elements in 64 bytes."""
        return 64 // element_bytes(self.kv)

    @property
    def score_tile(self) -> tuple[int, int, int]:
        """Shape of the accumulators of a score tile."""
        return self.rows, self.key_blocks, self.key_lanes

    @property
    def value_tile(self) -> tuple[int, int, int]:
        """Shape of the accumulators of a value tile."""
        return self.rows, self.columns // self.column_lanes, self.column_lanes


def _prefetch(element: Expr) -> Expr:
    """Read prefetch into the second cache; a prefetch behind the cache of keys or values does not fault."""
    return T.Call("tirx.prefetch", [T.address_of(element), 0, 2, 1], ret_ty="void")


def _where_visible(block: Expr, first: Expr | None, last: Expr, seen: Expr, hidden: Expr) -> Expr:
    """`seen` for the keys of a block of the chunk from `first` (None: the chunk's own) to `last`."""
    keys = vector(block * LANES, LANES)
    if first is not None:
        seen = T.Select(keys >= splat(first, LANES), seen, hidden)
    return T.Select(keys <= splat(last, LANES), seen, hidden)


@T.inline
def score_tile(
    shape: Shape,
    rows: int,
    blocks: int,
    query: Expr,
    query_row: Expr,
    keys: Expr,
    key_scales: Expr,
    kv_head: Expr,
    chunk: Expr,
    block: Expr,
    scores: Expr,
    row: Expr,
    acc: Expr,
    ahead: Expr = None,
) -> None:
    """scores[row + r][key]: `rows` queries, `blocks` blocks of keys from block `block` of the chunk on.

    `ahead`: the values; those of the same keys are prefetched.
    """
    for part in T.unroll(KEY_BLOCK // shape.key_lanes):
        for r in T.unroll(rows):
            for b in T.unroll(blocks):
                acc[r, b, vector(0, shape.key_lanes)] = constant(0.0, shape.key_lanes)
        for d in range(shape.head_dim):
            if ahead is not None:
                for j in T.unroll(-(-blocks * KEY_BLOCK // shape.line)):
                    T.evaluate(
                        _prefetch(
                            ahead[
                                kv_head,
                                chunk * KEY_CHUNK + block * KEY_BLOCK,
                                d * (blocks * KEY_BLOCK) + j * shape.line,
                            ]
                        )
                    )
            for r in T.unroll(rows):
                for b in T.unroll(blocks):
                    key: T.let = widen(
                        keys[
                            kv_head,
                            chunk * CHUNK_BLOCKS + block + b,
                            d,
                            vector(part * shape.key_lanes, shape.key_lanes),
                        ],
                        shape.native,
                    )
                    acc[r, b, vector(0, shape.key_lanes)] = (
                        acc[r, b, vector(0, shape.key_lanes)]
                        + splat(query[query_row + r, d], shape.key_lanes) * key
                    )
        for r in T.unroll(rows):
            for b in T.unroll(blocks):
                first: T.let = (block + b) * KEY_BLOCK + part * shape.key_lanes
                score: T.let = mul(
                    acc[r, b, vector(0, shape.key_lanes)], constant(shape.scale, shape.key_lanes)
                )
                if shape.kv == "int8":
                    key_scale: T.let = key_scales[kv_head, vector(chunk * KEY_CHUNK + first, shape.key_lanes)]
                    scores[row + r, vector(first, shape.key_lanes)] = mul(score, key_scale)
                else:
                    scores[row + r, vector(first, shape.key_lanes)] = score


@T.inline
def row_maximum(
    scores: Expr, row: Expr, blocks: Expr, last: Expr, lanes: Expr, first: Expr | None = None
) -> None:
    """lanes[0] = m of a row, whose last visible key is `last`, below 0 if there is none."""
    lanes[ALL] = constant(LOWEST, LANES)
    for block in range(blocks):
        score: T.let = scores[row, vector(block * LANES, LANES)]
        lanes[ALL] = T.max(
            lanes[ALL],
            _where_visible(block, first, last, score, constant(LOWEST, LANES)),
        )
    maximum: T.let = tree_max(lanes[ALL])
    lanes[0] = maximum


@T.inline
def row_weights(
    shape: Shape,
    scores: Expr,
    row: Expr,
    blocks: Expr,
    last: Expr,
    maximum: Expr,
    value_scales: Expr,
    kv_head: Expr,
    chunk: Expr,
    lanes: Expr,
    first: Expr | None = None,
) -> None:
    """Scores of a row to what its values are multiplied by, in place; lanes[0] = s."""
    lanes[ALL] = constant(0.0, LANES)
    for block in range(blocks):
        distance: T.let = scores[row, vector(block * LANES, LANES)] - splat(maximum, LANES)
        weight: T.let = _where_visible(
            block, first, last, exp_rounded(distance, EXACT_BITS), constant(0.0, LANES)
        )
        lanes[ALL] = lanes[ALL] + weight
        if shape.kv == "int8":
            scaled: T.let = weight * value_scales[kv_head, vector(chunk * KEY_CHUNK + block * LANES, LANES)]
            scores[row, vector(block * LANES, LANES)] = _where_visible(
                block, first, last, round_significant(scaled, EXACT_BITS), constant(0.0, LANES)
            )
        else:
            scores[row, vector(block * LANES, LANES)] = weight
    lanes[0] = tree_sum(lanes[ALL])


@T.inline
def value_tile(
    shape: Shape,
    rows: int,
    columns: int,
    weights: Expr,
    row: Expr,
    values: Expr,
    kv_head: Expr,
    first_key: Expr,
    keys: Expr,
    column: Expr,
    acc: Expr,
    ahead: Expr = None,
    ahead_head: Expr = 0,
    ahead_block: Expr = 0,
) -> None:
    """acc[r, j] = Σ p·v: `rows` rows of weights, `columns` columns, the chunk's first `keys` keys.

    `ahead`: the keys; as many from `ahead_head`, `ahead_block` on are prefetched.
    """
    for r in T.unroll(rows):
        for j in T.unroll(columns // shape.column_lanes):
            acc[r, j, vector(0, shape.column_lanes)] = constant(0.0, shape.column_lanes)
    for key in range(keys):
        if ahead is not None:
            for j in T.unroll(-(-columns // shape.line)):
                T.evaluate(
                    _prefetch(
                        ahead[ahead_head, ahead_block, 0, column * keys + key * columns + j * shape.line]
                    )
                )
        for r in T.unroll(rows):
            for j in T.unroll(columns // shape.column_lanes):
                value: T.let = widen(
                    values[
                        kv_head, first_key + key, vector(column + j * shape.column_lanes, shape.column_lanes)
                    ],
                    shape.native,
                )
                acc[r, j, vector(0, shape.column_lanes)] = (
                    acc[r, j, vector(0, shape.column_lanes)]
                    + splat(weights[row + r, key], shape.column_lanes) * value
                )
