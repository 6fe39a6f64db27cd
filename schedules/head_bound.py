"""Estimates of logits, and bounds of their errors, from the exact integer products of a block of 16 rows."""

from __future__ import annotations

import math

from tvm.script import tirx as T

from .float_ops import Expr, absolute_bits, constant, fence, lanes_of, mul, splat, vector

ROWS = 16

_CERTAIN = 2.0**40
_ROUNDING = 1.0 + 2.0**-22
_SMALLEST = 2.0**-147
_MARGIN = 2.0**-21


def _rows(first: Expr, lanes: int) -> Expr:
    """Index of the rows from ``first`` on that are taken together."""
    return vector(first, lanes) if lanes > 1 else first


def _typed(kind: str, lanes: int) -> str:
    return f"{kind}x{lanes}" if lanes > 1 else kind


def _wide(sums: Expr, factor: float, row: Expr, lanes: int) -> Expr:
    """factor · sums[.., 0] + sums[.., 1] of all rows, or of one, exact; sums [4][2][4]."""
    first, second = (T.cast(_sums(sums, i, row, lanes), _typed("float64", lanes)) for i in range(2))
    return mul(first, _double(factor, lanes)) + second


def _sums(sums: Expr, which: int, row: Expr, lanes: int) -> Expr:
    if lanes == 1:
        return sums[row // 4, which, row % 4]
    return T.Shuffle([sums[four, which, vector(0, 4)] for four in range(4)], list(range(ROWS)))


def _bound(bounds: Expr, block: Expr, which: int, row: Expr, lanes: int) -> Expr:
    return T.cast(bounds[block, which, _rows(row, lanes)], _typed("float64", lanes))


def _double(value: float, lanes: int) -> Expr:
    return splat(T.float64(value), lanes)


def _absolute(x: Expr) -> Expr:
    return T.reinterpret(absolute_bits(x), dtype=_typed("float32", lanes_of(x)))


def _largest(values: Expr, block: Expr, lanes: int) -> Expr:
    """Of a block: upper half against lower half until one is left."""
    if lanes == 1:
        parts = [fence(values[block, row]) for row in range(ROWS)]  # else LLVM compares them in vectors
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [fence(T.max(low, high)) for low, high in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]
    x = values[block, _rows(0, lanes)]
    while lanes > 2:
        lanes //= 2
        half_vector = f"float32x{lanes}"
        x = T.max(T.vectorlow(x, dtype=half_vector), T.vectorhigh(x, dtype=half_vector))
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
    lanes: int,
) -> None:
    """Estimates and upper bounds of a block from its products; u stands for step · u - center.

    ``lanes``: rows taken at a time, all or one.
    """
    for i in range(ROWS // lanes):
        row = T.meta_var(i * lanes)
        x: T.let = mul(_wide(sums, 256.0, row, lanes), _double(step, lanes)) - mul(
            _double(center, lanes), splat(query[1], lanes)
        )
        y: T.let = _wide(scaled, 256.0, row, lanes) - mul(_double(32768.0, lanes), splat(query[3], lanes))
        near: T.let = mul(mul(_bound(bounds, block, 0, row, lanes), splat(query[0], lanes)), x)
        rest: T.let = mul(mul(_bound(bounds, block, 1, row, lanes), splat(query[2], lanes)), y)
        estimate: T.let = T.cast(near + rest, _typed("float32", lanes))
        plane: T.let = mul(_bound(bounds, block, 2, row, lanes), splat(query[4], lanes))
        scale: T.let = mul(_bound(bounds, block, 3, row, lanes), splat(query[5], lanes))
        norms: T.let = mul(_bound(bounds, block, 4, row, lanes), splat(query[6], lanes))
        wide: T.let = mul((plane + scale) + norms, _double(_ROUNDING, lanes)) + _double(_SMALLEST, lanes)
        bound: T.let = T.cast(wide, _typed("float32", lanes))
        margin: T.let = mul(_absolute(estimate) + bound, constant(_MARGIN, lanes))
        upper: T.let = T.Select(
            bound < constant(_CERTAIN, lanes), (estimate + bound) + margin, constant(math.inf, lanes)
        )
        estimates[block, _rows(row, lanes)] = estimate
        uppers[block, _rows(row, lanes)] = upper
    maxima[block, 0] = _largest(estimates, block, lanes)
    maxima[block, 1] = _largest(uppers, block, lanes)
