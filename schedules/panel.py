"""Decoding apart: the codes of a *window* of lines of a block are written once, a byte each, to a *panel*
that stays in the level-1 cache while all tokens of a chunk pass, in tiles.

A micro-kernel that decodes as it multiplies does so again for each tile of tokens: 14 of 78 instructions that
take the pipes of a Cortex-A76, 13 of 42 with AVX2. From some tokens on a panel, stored once and loaded by
each tile, costs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr
from .tiles import ROWS, MicroKernel, Tile, put_in_place

PANEL_TOKENS = 96
"""At most, that meet one panel: a block's accumulators for them, 6 KB, stay in the level-1 cache too."""

LINE_CODES = 4 * ROWS * 4
"""Of a line: fields, rows, bytes."""


@dataclass(frozen=True)
class Panel:
    """From ``fewest`` tokens on a panel pays. It holds ``window`` lines of a block, and tokens meet it in
    tiles of at most ``tokens``.

    ``micro_kernel`` builds, for a tile of one block, a function ``(codes u8 [lines][4][16][4], q i8
    [tokens][lines][4][4] with any stride between tokens, acc i32 [tokens][16])`` that adds the product of
    codes and q to acc and declares ``lines = T.int32()``, at most ``window``.
    """

    fewest: int
    tokens: int
    window: int
    micro_kernel: MicroKernel

    @property
    def sizes(self) -> range:
        """Tokens of a tile, when at least ``fewest`` are split into as few tiles as possible."""
        smallest = min(n // -(-n // self.tokens) for n in range(self.fewest, PANEL_TOKENS + 1))
        return range(smallest, self.tokens + 1)


def parts(tokens: Expr, most: int) -> Expr:
    """As few as possible, of at most ``most`` tokens.

    Divisions truncate: of those that round down TVM tries for minutes to prove that nothing is negative.
    """
    return T.truncdiv(tokens + (most - 1), most)


def part(number: Expr, tokens: Expr, most: int) -> tuple[Expr, Expr]:
    """First token and tokens of one of them: their sizes differ by one at most."""
    count = parts(tokens, most)
    smaller, larger = T.truncdiv(tokens, count), T.truncmod(tokens, count)
    return number * smaller + T.min(number, larger), smaller + T.cast(number < larger, "int32")


def product_with_panel(
    panel: Panel,
    unit: int,
    lines_of_window: tirx.Var,
    W: Expr,
    X: Expr,
    acc: Expr,
    codes: Expr,
    block: Expr,
    token: Expr,
    lines: Expr,
    tokens: Expr,
) -> None:
    """``unit`` blocks from ``block`` on by ``tokens`` tokens from ``token`` on; acc i32 [unit][tokens][16],
    ``codes`` u8 [window][4][16][4], the panel. Binds ``lines_of_window``.
    """
    with T.grid(unit, tokens, ROWS) as loops, T.sblock("zero_for_panel"):
        vb, vm, vi = T.axis.remap("SSS", loops)
        T.buffer_store(acc, 0, [vb, vm, vi])
    with T.grid(unit, parts(lines, panel.window)) as (loop, window):
        b = T.Bind(loop)
        line = T.Bind(window * panel.window)
        T.Bind(T.min(lines - line, panel.window), var=lines_of_window)
        _decode(panel, W, codes, block + b, line, lines_of_window)
        with T.serial(parts(tokens, panel.tokens)) as tile:
            first, size = (T.Bind(value) for value in part(tile, tokens, panel.tokens))
            for some in reversed(panel.sizes):  # LLVM allots registers worst to the last
                with T.If(size == some), T.Then():
                    _tile(X, acc, codes, b, token, first, line, lines_of_window, some)


def _decode(panel: Panel, W: Expr, codes: Expr, block: Expr, line: Expr, lines: Expr) -> None:
    """The next window is prefetched meanwhile."""
    with T.sblock("decode"):
        T.reads(W[block, line : line + lines, 0:ROWS, 0:4])
        T.writes(codes[0 : panel.window, 0:4, 0:ROWS, 0:4])
        with T.serial(lines) as l:
            prefetch(W[block, line + l + panel.window, 0, 0], Cache.L1)
            packed = W.vload([block, line + l, 0, 0], f"uint8x{ROWS * 4}")
            for field in range(4):
                shifted = T.shift_right(packed, T.broadcast(T.uint8(2 * field), ROWS * 4))
                T.buffer_store(
                    codes,
                    T.bitwise_and(shifted, T.broadcast(T.uint8(3), ROWS * 4)),
                    [l, field, 0, T.ramp(0, 1, ROWS * 4)],
                )


def _tile(
    X: Expr, acc: Expr, codes: Expr, b: Expr, token: Expr, first: Expr, line: Expr, lines: Expr, size: int
) -> None:
    """Block b of acc by ``size`` tokens: the block ``panel_<size>``."""
    with T.grid(size, ROWS, lines, 4, 4) as loops, T.sblock(f"panel_{size}"):
        vm, vi, vl, vg, vj = T.axis.remap("SSRRR", loops)
        q = T.cast(X[token + first + vm, line + vl, vg, vj], "int32")
        sum_ = acc[b, first + vm, vi] + T.cast(codes[vl, vg, vi, vj], "int32") * q
        T.buffer_store(acc, sum_, [b, first + vm, vi])


def tensorize_panel(schedule: Schedule, panel: Panel, lines_of_window: tirx.Var) -> None:
    """The panel's micro-kernel in the place of the loops of each tile."""
    for size in panel.sizes:
        implementation = panel.micro_kernel(Tile(1, size))
        put_in_place(schedule, f"panel_{size}", 5, _description(size), implementation, lines_of_window)


@cache
def _description(tokens: int) -> tirx.PrimFunc:
    """What a panel's micro-kernel computes."""

    @T.prim_func(s_tir=True, check_well_formed=False)
    def description(codes: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        stride = T.int32()
        P = T.match_buffer(codes, (lines, 4, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tokens, lines, 4, 4), "int8", strides=[stride, 16, 4, 1], offset_factor=1)
        C = T.match_buffer(acc, (tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:tokens, 0:16], P[0:lines, 0:4, 0:16, 0:4], X[0:tokens, 0:lines, 0:4, 0:4])
            T.writes(C[0:tokens, 0:16])
            for loops in T.grid(tokens, 16, lines, 4, 4):
                with T.sblock("product"):
                    m, i, l, g, j = T.axis.remap("SSRRR", loops)
                    C[m, i] = C[m, i] + T.cast(P[l, g, i, j], "int32") * T.cast(X[m, l, g, j], "int32")

    return description
