"""Codes of `head_screen` on x86, which shifts words and no bytes: masks cut off what crosses a byte."""

from __future__ import annotations

from collections.abc import Callable

from tvm.script import tirx as T

from .float_ops import Expr
from .head_screen import Codes


def decode(codes: Codes, rows: Expr, row: Expr, group: Expr, part: Expr, first: Expr, width: int) -> Expr:
    """Codes of ``width`` columns of a part, from ``first`` on: uint8."""
    line = 2 + group * codes.lines
    nibbles = _shift(
        T.shift_right, rows.vload([0, row, line + part // 2, first], f"uint8x{width}"), part % 2 * 4
    )
    if not codes.has_crumbs:
        return T.bitwise_and(nibbles, T.broadcast(T.uint8(15), width))
    high = _shift(T.shift_left, nibbles, 2)
    low = _shift(T.shift_right, rows.vload([0, row, line + 2, first], f"uint8x{width}"), part * 2)
    return T.bitwise_or(
        T.bitwise_and(high, T.broadcast(T.uint8(60), width)),
        T.bitwise_and(low, T.broadcast(T.uint8(3), width)),
    )


def _shift(direction: Callable[[Expr, Expr], Expr], line: Expr, bits: Expr) -> Expr:
    width = int(line.ty.dtype.lanes)
    amount = T.broadcast(T.cast(bits, "uint32"), width // 4)
    words = direction(T.reinterpret(line, dtype=f"uint32x{width // 4}"), amount)
    return T.reinterpret(words, dtype=f"uint8x{width}")
