"""Ternary products of float32 activations: of each group of columns, its scale times the sum of trit·x.

A lane is a row of a block. Of a trit t the two bits become the float 2·t without a table or a conversion: as
a two's complement number (11, 00, 01) in the top bits of a word they are the floats -2, 0 and +2. Times x
that is exact (|x| < 2¹²⁷), so that a fused multiply-add gives the bits of a product and a sum.

**Canonical order.** A group has four partial sums, one for each field of a line (k = 16·l + 4·field + j), and
each adds its products in the order of k. They are added as ((a0 + a1) + (a2 + a3)), halved and multiplied by
the group's scale; groups are added in their order. What is done at once depends on the tier, never the order.

Slots: b0 weights U16, b1 x float32 [tokens][P], b2 scales float32 [blocks][groups][16], b3 out; s0 count,
s1 lines (P/16), s2 lines of a group, and for GEMM s3 tokens, s4 out stride. All are dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.script import tirx as T

from .epilogue import EPILOGUES
from .float_ops import ALL, LANES, Expr, constant, mul, splat, vector
from .tier import Tier

FIELDS = 4
"""Of a byte, and partial sums of a group."""

BYTES = 4
"""Of a row in a line."""

CHUNK = 8
"""Lines that all fields of a GEMM tile pass before the next: 128 columns of its tokens stay in the cache."""


@dataclass(frozen=True)
class Tile:
    """Rows of a block by tokens whose products are added up in registers; ``few`` tokens for what is left of
    a prompt.
    """

    rows: int
    tokens: int
    few: int


def gemm_tile(tier: Tier) -> Tile:
    """8 accumulators of AVX-512 and SSE2, 10 of AVX2, 16 of NEON: with more LLVM spills."""
    if "avx512vl" in tier.requires:
        return Tile(rows=16, tokens=8, few=2)
    if "avx2" in tier.requires:
        return Tile(rows=16, tokens=5, few=2)
    if tier.architecture == "arm64":
        return Tile(rows=8, tokens=8, few=2)
    return Tile(rows=8, tokens=4, few=1) if tier.architecture == "x86_64" else Tile(rows=4, tokens=2, few=1)


def gemv_rows(tier: Tier) -> int:
    """Rows of a block that GEMV takes together; two registers of SSE2 and NEON."""
    if "avx2" in tier.requires:
        return 16
    return 8 if tier.architecture in ("arm64", "x86_64") else 4


def ternary_float_gemv(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """One token; all four partial sums at once."""
    rows = gemv_rows(tier)
    finish = EPILOGUES[epilogue]
    unit = finish.blocks

    @T.inline
    def product(W: Expr, X: Expr, A: Expr, sums: Expr, total: Expr, block: Expr, b: int, groups: Expr,
                group_lines: Expr) -> None:  # fmt: skip
        for group in range(groups):
            for part in T.unroll(LANES // rows):
                for p in T.unroll(FIELDS):
                    sums[p, vector(0, rows)] = constant(0.0, rows)
                for l in range(group_lines):
                    line: T.let = group * group_lines + l
                    codes: T.let = _twos_complement(W[block, line, vector(part * rows, rows)])
                    for p in T.unroll(FIELDS):
                        for j in T.unroll(BYTES):
                            sums[p, vector(0, rows)] = sums[p, vector(0, rows)] + _trits(codes, p, j) * splat(
                                X[0, line, p, j], rows
                            )
                total[b, vector(part * rows, rows)] = total[b, vector(part * rows, rows)] + _scaled(
                    [sums[p, vector(0, rows)] for p in range(FIELDS)],
                    A[block, group, vector(part * rows, rows)],
                )

    @T.prim_func(s_tir=True)
    def kernel(
        weights: T.handle,
        x: T.handle,
        scales: T.handle,
        out: T.handle,
        count: T.int32,
        lines: T.int32,
        group_lines: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        groups: T.let = T.truncdiv(lines, group_lines)
        W = T.match_buffer(weights, (count * unit, lines, LANES), "uint32")
        X = T.match_buffer(x, (1, lines, FIELDS, BYTES), "float32")
        A = T.match_buffer(scales, (count * unit, T.truncdiv(lines, group_lines), LANES), "float32")
        Y = T.match_buffer(out, (count, LANES), "float32")
        sums = T.alloc_buffer((FIELDS, rows), "float32")
        total = T.alloc_buffer((unit, LANES), "float32")
        for c in range(count):
            for b in T.unroll(unit):
                total[b, ALL] = constant(0.0, LANES)
                product(W, X, A, sums, total, c * unit + b, b, groups, group_lines)
            Y[c, ALL] = finish.combine(Y[c, ALL], *[total[b, ALL] for b in range(unit)])

    return kernel


def ternary_float_gemm(tier: Tier, epilogue: str) -> tirx.PrimFunc:
    """Tokens in tiles, each row with the bits of `ternary_float_gemv`.

    A decoded register meets all tokens of a tile, one field after the other; partial sums wait on the stack.
    The rest of the tokens goes in tiles of ``few``: tokens past the last are copies of it and not stored.
    """
    tile, finish = gemm_tile(tier), EPILOGUES[epilogue]
    unit, rows = finish.blocks, tile.rows

    @T.inline
    def field(W: Expr, X: Expr, sums: Expr, acc: Expr, block: Expr, token: Expr, size: int, begin: Expr,
              end: Expr, last: Expr, p: int, part: int) -> None:  # fmt: skip
        for m in T.unroll(size):
            acc[m, vector(0, rows)] = sums[p, m, vector(part * rows, rows)]
        for l in range(end - begin):
            codes: T.let = _twos_complement(W[block, begin + l, vector(part * rows, rows)])
            for j in T.unroll(BYTES):
                trits: T.let = _trits(codes, p, j)
                for m in T.unroll(size):
                    acc[m, vector(0, rows)] = acc[m, vector(0, rows)] + trits * splat(
                        X[T.min(token + m, last), begin + l, p, j], rows
                    )
        for m in T.unroll(size):
            sums[p, m, vector(part * rows, rows)] = acc[m, vector(0, rows)]

    @T.inline
    def product(W: Expr, X: Expr, A: Expr, sums: Expr, acc: Expr, total: Expr, block: Expr, b: int,
                token: Expr, size: int, groups: Expr, group_lines: Expr, last: Expr) -> None:  # fmt: skip
        for m in range(size):
            total[b, m, ALL] = constant(0.0, LANES)
        for group in range(groups):
            for p in range(FIELDS):
                for m in range(size):
                    sums[p, m, ALL] = constant(0.0, LANES)
            for chunk in range(T.ceildiv(group_lines, CHUNK)):
                begin: T.let = group * group_lines + chunk * CHUNK
                end: T.let = T.min(begin + CHUNK, (group + 1) * group_lines)
                for part in range(LANES // rows):
                    for p in T.unroll(FIELDS):
                        field(W, X, sums, acc, block, token, size, begin, end, last, p, part)
            for m in range(size):
                total[b, m, ALL] = total[b, m, ALL] + _scaled(
                    [sums[p, m, ALL] for p in range(FIELDS)], A[block, group, ALL]
                )

    @T.prim_func(s_tir=True)
    def kernel(
        weights: T.handle,
        x: T.handle,
        scales: T.handle,
        out: T.handle,
        count: T.int32,
        lines: T.int32,
        group_lines: T.int32,
        tokens: T.int32,
        stride: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        groups: T.let = T.truncdiv(lines, group_lines)
        W = T.match_buffer(weights, (count * unit, lines, LANES), "uint32")
        X = T.match_buffer(x, (tokens, lines, FIELDS, BYTES), "float32")
        A = T.match_buffer(scales, (count * unit, T.truncdiv(lines, group_lines), LANES), "float32")
        Y = T.match_buffer(out, (tokens, stride), "float32")
        sums = T.alloc_buffer((FIELDS, tile.tokens, LANES), "float32")
        acc = T.alloc_buffer((tile.tokens, rows), "float32")
        total = T.alloc_buffer((unit, tile.tokens, LANES), "float32")
        whole: T.let = T.truncdiv(tokens, tile.tokens)
        for c in range(count):
            for t in range(whole):
                for b in T.unroll(unit):
                    product(W, X, A, sums, acc, total, c * unit + b, b, t * tile.tokens, tile.tokens, groups,
                            group_lines, tokens - 1)  # fmt: skip
                for m in range(tile.tokens):
                    Y[t * tile.tokens + m, vector(c * LANES, LANES)] = finish.combine(
                        Y[t * tile.tokens + m, vector(c * LANES, LANES)],
                        *[total[b, m, ALL] for b in range(unit)],
                    )
            for t in range(T.ceildiv(tokens - whole * tile.tokens, tile.few)):
                first: T.let = whole * tile.tokens + t * tile.few
                for b in T.unroll(unit):
                    product(W, X, A, sums, acc, total, c * unit + b, b, first, tile.few, groups, group_lines,
                            tokens - 1)  # fmt: skip
                for m in range(T.min(tile.few, tokens - first)):
                    Y[first + m, vector(c * LANES, LANES)] = finish.combine(
                        Y[first + m, vector(c * LANES, LANES)], *[total[b, m, ALL] for b in range(unit)]
                    )

    return kernel


def _twos_complement(line: Expr) -> Expr:
    """Codes (trit + 1: 00, 01, 10) to trits, every bit inverted: 00, 11, 10 for -1, 0, 1."""
    rows = int(line.ty.dtype.lanes)
    low = T.bitwise_and(line, splat(T.uint32(0x55555555), rows))
    return T.bitwise_xor(line, T.shift_left(low, splat(T.uint32(1), rows)))


def _trits(inverted: Expr, field: int, byte: int) -> Expr:
    """2·t of a field of a byte of every row; the inversion back costs nothing beside the mask."""
    rows = int(inverted.ty.dtype.lanes)
    top = T.shift_left(inverted, splat(T.uint32(30) - T.cast(8 * byte + 2 * field, "uint32"), rows))
    bits = T.bitwise_and(T.bitwise_not(top), splat(T.uint32(0xC0000000), rows))
    return T.reinterpret(bits, dtype=f"float32x{rows}")


def _scaled(sums: list[Expr], scale: Expr) -> Expr:
    """What a group adds to its rows, of partial sums of 2·t·x."""
    twice = (sums[0] + sums[1]) + (sums[2] + sums[3])
    return mul(twice * constant(0.5, int(scale.ty.dtype.lanes)), scale)
