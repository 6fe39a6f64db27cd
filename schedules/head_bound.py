"""Estimates of logits, and bounds of their errors, from the exact integer products of a block of 16 rows."""

from __future__ import annotations

import math

from tvm.script import tirx as T

from .float_ops import ALL, Expr, absolute_bits, constant, mul, splat, vector

ROWS = 16

_CERTAIN = 2.0**40
_ROUNDING = 1.0 + 2.0**-22
_SMALLEST = 2.0**-147
_MARGIN = 2.0**-21


def _wide(sums: Expr, factor: float) -> Expr:
    """factor · sums[.., 0] + sums[.., 1] of all rows, exact; sums [4][2][4]."""
    fours = [[sums[four, i, vector(0, 4)] for four in range(4)] for i in range(2)]
    first, second = (T.cast(T.Shuffle(parts, list(range(ROWS))), "float64x16") for parts in fours)
    return mul(first, _double(factor)) + second


def _bound(bounds: Expr, block: Expr, which: int) -> Expr:
    return T.cast(bounds[block, which, ALL], "float64x16")


def _double(value: float) -> Expr:
    return T.broadcast(T.float64(value), ROWS)


def _absolute(x: Expr) -> Expr:
    return T.reinterpret(absolute_bits(x), dtype="float32x16")


def _largest(x: Expr) -> Expr:
    """Of a vector's lanes: upper half against lower half until one is left."""
    lanes = ROWS
    while lanes > 2:
        lanes //= 2
        half = f"float32x{lanes}"
        x = T.max(T.vectorlow(x, dtype=half), T.vectorhigh(x, dtype=half))
    return T.max(T.Shuffle([x], [0]), T.Shuffle([x], [1]))


@T.inline
def bound_block(
    sums: Expr,
    scaled: Expr,
    step: float,
    center: float,
    bounds: Expr,
    query: Expr,
    estimates: Expr,
    uppers: Expr,
    maxima: Expr,
    block: Expr,
) -> None:
    """Estimates and upper bounds of a block from its products; u stands for step · u - center."""
    x: T.let = mul(_wide(sums, 256.0), _double(step)) - mul(_double(center), splat(query[1], ROWS))
    y: T.let = _wide(scaled, 256.0) - mul(_double(32768.0), splat(query[3], ROWS))
    near: T.let = mul(mul(_bound(bounds, block, 0), splat(query[0], ROWS)), x)
    rest: T.let = mul(mul(_bound(bounds, block, 1), splat(query[2], ROWS)), y)
    estimate: T.let = T.cast(near + rest, "float32x16")
    plane: T.let = mul(_bound(bounds, block, 2), splat(query[4], ROWS))
    scale: T.let = mul(_bound(bounds, block, 3), splat(query[5], ROWS))
    norms: T.let = mul(_bound(bounds, block, 4), splat(query[6], ROWS))
    wide: T.let = mul((plane + scale) + norms, _double(_ROUNDING)) + _double(_SMALLEST)
    bound: T.let = T.cast(wide, "float32x16")
    margin: T.let = mul(_absolute(estimate) + bound, constant(_MARGIN, ROWS))
    upper: T.let = T.Select(
        bound < constant(_CERTAIN, ROWS), (estimate + bound) + margin, constant(math.inf, ROWS)
    )
    estimates[block, ALL] = estimate
    uppers[block, ALL] = upper
    maxima[block, 0] = _largest(estimate)
    maxima[block, 1] = _largest(upper)
