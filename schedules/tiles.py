"""Tiles of ternary products, and how the micro-kernel of an ISA takes the place of a tile's loops.

What a micro-kernel has to compute is written once, in ``_description``, and TVM checks that a loop nest is
that computation before it puts the micro-kernel in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import Schedule, TensorIntrin
from tvm.script import tirx as T

from .float_ops import Expr

ROWS = 16
"""Of a block."""

LINES_MULTIPLE = 4
"""K is padded to 64, so micro-kernels may unroll four lines."""


@dataclass(frozen=True)
class Tile:
    """Row blocks (of 16 rows) by tokens that a micro-kernel computes together."""

    blocks: int
    tokens: int

    @property
    def extents(self) -> tuple[int, ...]:
        """Of its loops: TVM drops those of extent 1 from both sides when it compares loop nests."""
        return tuple(extent for extent in (self.blocks, self.tokens) if extent > 1)

    def block(self, axes: Sequence[Expr]) -> Expr:
        """Which of the axes of a loop nest, the first of them over ``extents``, is the block."""
        return axes[0] if self.blocks > 1 else 0

    def token(self, axes: Sequence[Expr]) -> Expr:
        return axes[len(self.extents) - 1] if self.tokens > 1 else 0


MicroKernel = Callable[[Tile], tirx.PrimFunc]
"""Builds a function ``(weights u8 [blocks][lines][16][4], q i8 [tokens][lines][4][4], acc i32
[blocks][tokens][16])`` that adds the product of codes and q to acc. It declares the number of lines as
``lines = T.int32()``."""


def code(weights: Expr, block: Expr, row: Expr, line: Expr, field: Expr, byte: Expr) -> Expr:
    """Of U16 weights u8 [blocks][lines][16][4]: trit + 1."""
    return T.bitwise_and(T.shift_right(T.cast(weights[block, line, row, byte], "int32"), field * 2), 3)


def tensorize_tile(
    schedule: Schedule, name: str, tile: Tile, micro_kernel: MicroKernel, lines: tirx.Var
) -> None:
    """Puts the micro-kernel in the place of the loops of a tile, around the block ``name``."""
    loops = 4 + len(tile.extents)  # ..., rows, lines, fields, bytes
    put_in_place(schedule, name, loops, _description(tile), micro_kernel(tile), lines)


def put_in_place(
    schedule: Schedule,
    name: str,
    loops: int,
    description: tirx.PrimFunc,
    implementation: tirx.PrimFunc,
    lines: tirx.Var,
) -> None:
    """The implementation instead of the innermost ``loops`` loops around a block. Its variable ``lines`` and
    that of the description are, from then on, all called as ``lines`` is: see ``with_variable``.
    """
    intrinsic = f"edgebit.{implementation.attrs['global_symbol']}"
    TensorIntrin.register(
        intrinsic,
        with_variable(description, "lines", lines),
        with_variable(implementation, "lines", lines),
        override=True,
    )
    schedule.tensorize(schedule.get_loops(schedule.get_sblock(name))[-loops], intrinsic)


def with_variable(function: tirx.PrimFunc, name: str, variable: tirx.Var) -> tirx.PrimFunc:
    """All variables of a name become one: a micro-kernel gets buffers, not scalars, so that what it calls
    ``lines`` is another variable than what the kernel around it does.
    """

    def bind(found: tirx.Var) -> tirx.Var:
        return variable if found.name == name else found

    return tvm_ffi.structural_map(function, (tvm.ir.Var, bind))


@cache
def _description(tile: Tile) -> tirx.PrimFunc:
    """What a micro-kernel computes."""
    kinds = "S" * len(tile.extents) + "SRRR"

    @T.prim_func(s_tir=True, check_well_formed=False)
    def description(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (tile.blocks, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (tile.blocks, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0 : tile.blocks, 0 : tile.tokens, 0:16], W[0 : tile.blocks, 0:lines, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0 : tile.blocks, 0 : tile.tokens, 0:16])
            for loops in T.grid(*tile.extents, 16, lines, 4, 4):
                with T.sblock("product"):
                    v = list(T.axis.remap(kinds, loops))
                    C[tile.block(v), tile.token(v), v[-4]] = C[tile.block(v), tile.token(v), v[-4]] + code(
                        W, tile.block(v), v[-4], v[-3], v[-2], v[-1]
                    ) * T.cast(X[tile.token(v), v[-3], v[-2], v[-1]], "int32")

    return description
