"""The ternary product as a computation, and how a micro-kernel of an ISA takes the place of its inner loops.

One loop nest serves every tier, shape and epilogue: row blocks x tokens in tiles, and for each tile a
reduction over all *lines* (64 bytes of U16 weights: 16 rows by 16 values of k). A tier supplies a tile size
and a micro-kernel, a tensor intrinsic that computes one tile for any number of lines; what it has to compute
is written once, in ``_description``, and TVM checks that the loop nest is that computation before it puts the
micro-kernel in place.

Slots: b0 weights, b1 q, b2 sum of q, b3 scale, b4 weight scale, b5 out; s0 count, s1 lines (K/16, a multiple
of 4), and for GEMM s2 tokens, s3 out stride. All are dynamic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import Schedule, TensorIntrin
from tvm.script import tirx as T

from .epilogue import EPILOGUES, Epilogue, dequantize
from .float_ops import Expr, vector

LINES_MULTIPLE = 4
"""K is padded to 64, so micro-kernels may unroll four lines."""


@dataclass(frozen=True)
class Tile:
    """Row blocks (of 16 rows) by tokens that a micro-kernel computes together."""

    blocks: int
    tokens: int


MicroKernel = Callable[[Tile], tirx.PrimFunc]
"""Builds a function ``(weights u8 [blocks][lines][16][4], q i8 [tokens][lines][4][4], acc i32
[blocks][tokens][16])`` that adds the product of codes and q to acc. It declares the number of lines as
``lines = T.int32()``."""


def ternary_product(tile: Tile, micro_kernel: MicroKernel, epilogue: str) -> tirx.PrimFunc:
    """The kernel ``ternary_gemv_<epilogue>`` (tile of one token) or ``ternary_gemm_<epilogue>``."""
    function = _loop_nest(tile, EPILOGUES[epilogue])
    lines = next(parameter for parameter in function.params if parameter.name == "lines")
    schedule = Schedule(function)
    _tensorize(schedule, "product", tile, micro_kernel, lines)
    if tile.blocks > EPILOGUES[epilogue].blocks:
        _tensorize(schedule, "product_1", Tile(1, tile.tokens), micro_kernel, lines)
    return _bind_lines(schedule.mod["main"])


def _code(weights: Expr, block: Expr, row: Expr, line: Expr, field: Expr, byte: Expr) -> Expr:
    return T.bitwise_and(T.shift_right(T.cast(weights[block, line, row, byte], "int32"), field * 2), 3)


def _loop_nest(tile: Tile, epilogue: Epilogue) -> tirx.PrimFunc:
    """Groups of ``max(tile.blocks, epilogue.blocks)`` blocks, then the rest one block at a time."""
    unit = epilogue.blocks
    group = max(tile.blocks, unit)
    is_gemv = tile.tokens == 1

    def token_tiles(tokens: Expr) -> Expr:
        return 1 if is_gemv else T.ceildiv(tokens, tile.tokens)

    def out_stride(stride: Expr, count: Expr) -> Expr:
        return count * 16 if is_gemv else stride

    def finish(
        acc: Expr, before: Expr, scales: Expr, first: Expr, code_sum: Expr, scale: Expr, k: int, m: int
    ) -> Expr:
        """The vector unit k of a group stores for token m of the tile."""
        ys = [
            dequantize(acc[k * unit + b, m, vector(0, 16)], code_sum, scales[first + k * unit + b], scale)
            for b in range(unit)
        ]
        return epilogue.combine(before, *ys)

    @T.inline
    def groups(W, X, S, D, A, Y, acc, first_group, group_count, tiles, lines, size, step):  # type: ignore[no-untyped-def]
        """``group_count`` groups of ``size`` blocks in micro-kernel calls of ``step`` blocks."""
        for n, t in T.grid(group_count, tiles):
            for b, m, i in T.grid(size, tile.tokens, 16):
                with T.sblock("zero"):
                    vb, vm, vi = T.axis.remap("SSS", [b, m, i])
                    acc[vb, vm, vi] = 0
            for o, b, m, i, l, g, j in T.grid(size // step, step, tile.tokens, 16, lines, 4, 4):
                with T.sblock("product"):
                    vn, vt, vo, vb, vm, vi, vl, vg, vj = T.axis.remap(
                        "SSSSSSRRR", [n, t, o, b, m, i, l, g, j]
                    )
                    acc[vo * step + vb, vm, vi] = acc[vo * step + vb, vm, vi] + _code(
                        W, first_group + vn * size + vo * step + vb, vi, vl, vg, vj
                    ) * T.cast(X[vt, vm, vl, vg, vj], "int32")
            with T.sblock("epilogue"):
                T.reads(acc[0:size, 0 : tile.tokens, 0:16])
                T.writes(Y[0 : tile.tokens, 0:16])
                for m in range(tile.tokens):
                    for k in T.unroll(size // unit):
                        Y[t * tile.tokens + m, vector(((first_group + n * size) // unit + k) * 16, 16)] = (
                            finish(
                                acc,
                                Y[
                                    t * tile.tokens + m,
                                    vector(((first_group + n * size) // unit + k) * 16, 16),
                                ],
                                A,
                                first_group + n * size,
                                S[t, m],
                                D[t, m],
                                k,
                                m,
                            )
                        )

    @T.prim_func(s_tir=True)
    def main(
        weights: T.handle,
        q: T.handle,
        code_sum: T.handle,
        scale: T.handle,
        weight_scale: T.handle,
        out: T.handle,
        count: T.int32,
        lines: T.int32,
        tokens: T.int32,
        stride: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        W = T.match_buffer(weights, (count * unit, lines, 16, 4), "uint8")
        X = T.match_buffer(q, (token_tiles(tokens), tile.tokens, lines, 4, 4), "int8")
        S = T.match_buffer(code_sum, (token_tiles(tokens), tile.tokens), "int32")
        D = T.match_buffer(scale, (token_tiles(tokens), tile.tokens), "float32")
        A = T.match_buffer(weight_scale, (count * unit,), "float32")
        Y = T.match_buffer(out, (token_tiles(tokens) * tile.tokens, out_stride(stride, count)), "float32")
        with T.sblock("root"):
            acc = T.sblock_alloc_buffer((group, tile.tokens, 16), "int32")
            groups(
                W,
                X,
                S,
                D,
                A,
                Y,
                acc,
                0,
                count * unit // group,
                token_tiles(tokens),
                lines,
                group,
                tile.blocks,
            )
            if group > unit:
                groups(
                    W,
                    X,
                    S,
                    D,
                    A,
                    Y,
                    acc,
                    count // group * group,
                    count % group,
                    token_tiles(tokens),
                    lines,
                    1,
                    1,
                )

    return main


def _description(tile: Tile, lines: tirx.Var) -> tirx.PrimFunc:
    """What a micro-kernel computes, without loops of extent 1: TVM drops them from the nest as well."""
    extents = [extent for extent in (tile.blocks, tile.tokens) if extent > 1]
    kinds = "S" * len(extents) + "SRRR"

    def block(axes: list[Any]) -> Expr:
        return axes[0] if tile.blocks > 1 else 0

    def token(axes: list[Any]) -> Expr:
        return axes[len(extents) - 1] if tile.tokens > 1 else 0

    @T.prim_func(s_tir=True, check_well_formed=False)  # `lines` belongs to the kernel
    def description(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        W = T.match_buffer(weights, (tile.blocks, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (tile.blocks, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0 : tile.blocks, 0 : tile.tokens, 0:16], W[0 : tile.blocks, 0:lines, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0 : tile.blocks, 0 : tile.tokens, 0:16])
            for loops in T.grid(*extents, 16, lines, 4, 4):
                with T.sblock("product"):
                    v = list(T.axis.remap(kinds, loops))
                    C[block(v), token(v), v[-4]] = C[block(v), token(v), v[-4]] + _code(
                        W, block(v), v[-4], v[-3], v[-2], v[-1]
                    ) * T.cast(X[token(v), v[-3], v[-2], v[-1]], "int32")

    return description


def _tensorize(schedule: Schedule, name: str, tile: Tile, micro_kernel: MicroKernel, lines: tirx.Var) -> None:
    implementation = micro_kernel(tile)
    intrinsic = f"edgebit.{implementation.attrs['global_symbol']}"
    TensorIntrin.register(intrinsic, _description(tile, lines), implementation, override=True)
    loops = schedule.get_loops(schedule.get_sblock(name))
    rows = len(loops) - 4  # ..., blocks, tokens, rows, lines, fields, bytes
    first = rows - 2 if tile.blocks > 1 else rows - 1 if tile.tokens > 1 else rows
    schedule.tensorize(loops[first], intrinsic)


def _bind_lines(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A micro-kernel gets buffers, not scalars: its variable ``lines`` becomes the kernel's parameter."""
    lines = next(parameter for parameter in function.params if parameter.name == "lines")

    def bind(variable: tirx.Var) -> tirx.Var:
        return lines if variable.name == "lines" else variable

    return function.with_body(tvm_ffi.structural_map(function.body, (tvm.ir.Var, bind)))
