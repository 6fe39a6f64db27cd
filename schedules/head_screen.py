"""Kernels `head_screen` and `head_screen_u4`: an estimate of every logit, and how far off it may be.

They read plane 1 of the embedding (edgebit/compiler/head_planes.py) or its codes of 4 bits (head_s4.py), and
bounds; the query is a hidden state as 16-bit integers, each in two int8 planes
(edgebit/runtime/native/head_query.h). A block is 16 rows. Its integer products, exact, are a computation of
two parts (codes with z, coefficients with γ), whose place micro-kernels of an ISA take; the rest is float64
in canonical order, here with 4 and 126 for six bits, 2 and 15 for four:

    x = 4 · (256 Σ u·zh + Σ u·zl) - 126 Σz          exact
    y = 256 Σ hi·γ + Σ lo·γ - 32768 Σγ              exact
    l̂ = f32((S·t) · x + (sa·τ) · y)
    b = f32(((N·Zn + A·Gn) + K·κ) · (1 + 2⁻²²) + 2⁻¹⁴⁷)
    ub = (l̂ + b) + (|l̂| + b) · 2⁻²¹, or +infinity unless b < 2⁴⁰

The factor and 2⁻¹⁴⁷ are more than the casts to float32 lose, denormals included. A logit of `lm_head`
overflows from 2⁶⁴ on (its sums are lifted); K·κ is at least 2⁻²² ‖e‖‖h‖, so that b is far beyond 2⁴⁰ there.

Slots: b0 rows, b1 bounds, b2 z int8 [2][W], b3 γ int8 [2][64], b4 query f64 [8] = t, Σz, τ, Σγ, Zn, Gn, κ, 0;
b5 l̂ [16 · count], b6 ub [16 · count], b7 [count][2]: the largest l̂ and ub of each block; s0 count of blocks,
s1 W / 256.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import Schedule, TensorIntrin
from tvm.script import tirx as T

from .float_ops import Expr
from .head_bound import ROWS, bound_block

FEW = 4
"""Rows of a micro-kernel: their sums fill one vector, and memory does not wait long while they are added."""

FOURS = ROWS // FEW

LINE = 64
PARTS = 4
"""Lines of columns in a group; three lines of plane 1."""


@dataclass(frozen=True)
class Codes:
    """Codes of ``bits``: u stands for ``step`` · u - ``center`` in units of S.

    A row is two lines of coefficients, then for each group of 256 columns two lines of nibbles (the upper
    four bits of columns j and 64 + j, of 128 + j and 192 + j) and, of six bits, a line with the other two of
    all four.
    """

    bits: int
    step: float
    center: float

    @property
    def lines(self) -> int:
        """Of a group."""
        return self.bits // 2

    @property
    def has_crumbs(self) -> bool:
        return self.bits == 6


CODES = {codes.bits: codes for codes in (Codes(6, 4.0, 126.0), Codes(4, 2.0, 15.0))}

MicroKernel = Callable[[Codes], tirx.PrimFunc]


@dataclass(frozen=True)
class Products:
    """The integer products of four rows on an ISA; each adds to its sums, the rows side by side.

    ``codes`` builds ``(rows u8 [1][4][lines][64], z i8 [2][groups][4][64], sums i32 [1][2][4])``,
    ``coefficients`` builds ``(rows u8 [1][4][lines][64], gamma i8 [2][64], sums i32 [1][2][4])``. They
    declare ``groups = T.int32()``; lines = 2 + lines of the codes · groups.
    """

    codes: MicroKernel
    coefficients: MicroKernel


def screen(products: Products, bits: int, lanes: int = ROWS) -> tirx.PrimFunc:
    """The kernel for codes of ``bits``, with the micro-kernels of a tier in the place of its products.

    ``lanes``: rows whose floats are computed at a time, those of a block or one.
    """
    codes = CODES[bits]
    function = _loop_nest(codes, lanes)
    groups = next(parameter for parameter in function.params if parameter.name == "groups")
    schedule = Schedule(function)
    _tensorize(schedule, "codes", _describe_codes(groups, codes), products.codes(codes))
    _tensorize(schedule, "coefficients", _describe_coefficients(groups, codes), products.coefficients(codes))
    return _bind_groups(schedule.mod["main"])


def sum_lanes(x: Expr) -> Expr:
    """Sum of the lanes of an int32 vector."""
    lanes = int(x.ty.dtype.lanes)
    while lanes > 2:
        lanes //= 2
        x = T.vectorlow(x, dtype=f"int32x{lanes}") + T.vectorhigh(x, dtype=f"int32x{lanes}")
    return T.Shuffle([x], [0]) + T.Shuffle([x], [1])


def sum_four(a: Expr, b: Expr, c: Expr, d: Expr) -> Expr:
    """The sums of the lanes of four int32 vectors side by side, int32x4."""
    x = _interleaved_sum(_interleaved_sum(a, b, 1), _interleaved_sum(c, d, 1), 2)
    lanes = int(x.ty.dtype.lanes)
    while lanes > 4:  # each quarter of a register holds the four sums of a quarter
        lanes //= 2
        x = T.vectorlow(x, dtype=f"int32x{lanes}") + T.vectorhigh(x, dtype=f"int32x{lanes}")
    return x


def _interleaved_sum(x: Expr, y: Expr, size: int) -> Expr:
    """In groups of four lanes, ``size`` lanes of x and y in turn, the lower two added to the upper two."""
    lanes = int(x.ty.dtype.lanes)
    low: list[int] = []
    high: list[int] = []
    for four in range(0, lanes, 4):
        for unit in range(0, 2, size):
            for operand in (0, lanes):
                first = operand + four + unit
                low += range(first, first + size)
                high += range(first + 2, first + 2 + size)
    return T.Shuffle([x, y], low) + T.Shuffle([x, y], high)


def _code(codes: Codes, rows: Expr, block: Expr, row: Expr, group: Expr, part: Expr, j: Expr) -> Expr:
    """The code of column 64 · part + j of a group."""
    first = 2 + group * codes.lines
    nibble = T.shift_right(T.cast(rows[block, row, first + part // 2, j], "int32"), part % 2 * 4)
    if not codes.has_crumbs:
        return T.bitwise_and(nibble, 15)
    crumb = T.shift_right(T.cast(rows[block, row, first + 2, j], "int32"), part * 2)
    return T.bitwise_and(nibble, 15) * 4 + T.bitwise_and(crumb, 3)


def _coefficient(gamma: Expr, j: Expr) -> Expr:
    return T.cast(gamma[0, j], "int32") * 256 + T.cast(gamma[1, j], "int32")


def _loop_nest(codes: Codes, lanes: int) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True)
    def main(
        plane1: T.handle,
        bounds: T.handle,
        state: T.handle,
        coefficients: T.handle,
        query: T.handle,
        estimates: T.handle,
        uppers: T.handle,
        maxima: T.handle,
        count: T.int32,
        groups: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        P = T.match_buffer(plane1, (count * FOURS, FEW, groups * lines + 2, LINE), "uint8")
        B = T.match_buffer(bounds, (count, 5, ROWS), "float32")
        Z = T.match_buffer(state, (2, groups, PARTS, LINE), "int8")
        G = T.match_buffer(coefficients, (2, LINE), "int8")
        Q = T.match_buffer(query, (8,), "float64")
        L = T.match_buffer(estimates, (count, ROWS), "float32")
        U = T.match_buffer(uppers, (count, ROWS), "float32")
        M = T.match_buffer(maxima, (count, 2), "float32")
        with T.sblock("root"):
            sums = T.sblock_alloc_buffer((FOURS, 2, FEW), "int32")
            scaled = T.sblock_alloc_buffer((FOURS, 2, FEW), "int32")
            for n in range(count):
                for few, plane, i in T.grid(FOURS, 2, FEW):
                    with T.sblock("zero"):
                        vf, vp, vi = T.axis.remap("SSS", [few, plane, i])
                        sums[vf, vp, vi] = 0
                        scaled[vf, vp, vi] = 0
                for few in range(FOURS):
                    for i, plane, g, part, j in T.grid(FEW, 2, groups, PARTS, LINE):
                        with T.sblock("codes"):
                            vn, vf, vi, vl, vg, vp, vj = T.axis.remap(
                                "SSSSRRR", [n, few, i, plane, g, part, j]
                            )
                            T.reads(
                                sums[vf, vl, vi],
                                P[vn * FOURS + vf, vi, 0 : groups * lines + 2, 0:LINE],
                                Z[vl, vg, vp, vj],
                            )
                            T.writes(sums[vf, vl, vi])
                            sums[vf, vl, vi] = sums[vf, vl, vi] + _code(
                                codes, P, vn * FOURS + vf, vi, vg, vp, vj
                            ) * T.cast(Z[vl, vg, vp, vj], "int32")
                    for i, half, j in T.grid(FEW, 2, LINE):
                        with T.sblock("coefficients"):
                            vn, vf, vi, vh, vj = T.axis.remap("SSSSR", [n, few, i, half, j])
                            T.reads(
                                scaled[vf, vh, vi],
                                P[vn * FOURS + vf, vi, 0 : groups * lines + 2, 0:LINE],
                                G[0:2, vj],
                            )
                            T.writes(scaled[vf, vh, vi])
                            scaled[vf, vh, vi] = scaled[vf, vh, vi] + T.cast(
                                P[vn * FOURS + vf, vi, vh, vj], "int32"
                            ) * _coefficient(G, vj)
                with T.sblock("bound"):
                    vn = T.axis.spatial(count, n)
                    T.reads(
                        sums[0:FOURS, 0:2, 0:FEW], scaled[0:FOURS, 0:2, 0:FEW], B[vn, 0:5, 0:ROWS], Q[0:8]
                    )
                    T.writes(L[vn, 0:ROWS], U[vn, 0:ROWS], M[vn, 0:2])
                    bound_block(sums, scaled, codes.step, codes.center, B, Q, L, U, M, vn, lanes)

    return main


def _describe_codes(groups: tirx.Var, codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)  # `groups` belongs to the kernel
    def description(rows: T.handle, state: T.handle, sums: T.handle) -> None:
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        Z = T.match_buffer(state, (2, groups, PARTS, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(
                C[0, 0:2, 0:FEW],
                P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE],
                Z[0:2, 0:groups, 0:PARTS, 0:LINE],
            )
            T.writes(C[0, 0:2, 0:FEW])
            for i, plane, g, part, j in T.grid(FEW, 2, groups, PARTS, LINE):
                with T.sblock("codes"):
                    vi, vl, vg, vp, vj = T.axis.remap("SSRRR", [i, plane, g, part, j])
                    T.reads(C[0, vl, vi], P[0, vi, 0 : groups * lines + 2, 0:LINE], Z[vl, vg, vp, vj])
                    T.writes(C[0, vl, vi])
                    C[0, vl, vi] = C[0, vl, vi] + _code(codes, P, 0, vi, vg, vp, vj) * T.cast(
                        Z[vl, vg, vp, vj], "int32"
                    )

    return description


def _describe_coefficients(groups: tirx.Var, codes: Codes) -> tirx.PrimFunc:
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def description(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        G = T.match_buffer(gamma, (2, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0:2, 0:FEW], P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE], G[0:2, 0:LINE])
            T.writes(C[0, 0:2, 0:FEW])
            for i, half, j in T.grid(FEW, 2, LINE):
                with T.sblock("coefficients"):
                    vi, vh, vj = T.axis.remap("SSR", [i, half, j])
                    T.reads(C[0, vh, vi], P[0, vi, 0 : groups * lines + 2, 0:LINE], G[0:2, vj])
                    T.writes(C[0, vh, vi])
                    C[0, vh, vi] = C[0, vh, vi] + T.cast(P[0, vi, vh, vj], "int32") * _coefficient(G, vj)

    return description


def _tensorize(
    schedule: Schedule, name: str, description: tirx.PrimFunc, implementation: tirx.PrimFunc
) -> None:
    intrinsic = f"edgebit.{implementation.attrs['global_symbol']}"
    TensorIntrin.register(intrinsic, description, implementation, override=True)
    schedule.tensorize(schedule.get_loops(schedule.get_sblock(name))[2], intrinsic)


def _bind_groups(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A micro-kernel gets buffers, not scalars: its variable ``groups`` becomes the kernel's parameter."""
    groups = next(parameter for parameter in function.params if parameter.name == "groups")

    def bind(variable: tirx.Var) -> tirx.Var:
        return groups if variable.name == "groups" else variable

    return function.with_body(tvm_ffi.structural_map(function.body, (tvm.ir.Var, bind)))
