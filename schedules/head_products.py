"""The micro-kernels of `head_screen`: what is the same on every ISA with vectors of 32-bit integers.

A row is added up in vectors of ``lanes``, and four rows end side by side in one vector of sums.
An ISA gives what it does with a group of 256 columns, and with a line of coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr, vector
from .head_screen import FEW, LINE, PARTS, Codes, sum_four

Group = Any
"""``T.inline`` of (rows, state, accumulators [ways][plane][lanes], row, group): adds a group's products."""


def codes_kernel(
    name: str, codes: Codes, lanes: int, group: Group, ways: int = 1, ahead: int = 0
) -> tirx.PrimFunc:
    """`Products.codes`. ``ways``: accumulators a plane; ``ahead``: lines that are prefetched into the second
    cache, 0 for none.
    """
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def kernel(rows: T.handle, state: T.handle, sums: T.handle) -> None:
        groups = T.int32()
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
            acc = T.alloc_buffer((ways, 2, lanes), "int32", scope="global")
            of_rows = T.alloc_buffer((2, FEW, lanes), "int32", scope="global")
            for i in range(FEW):
                if ahead > 0:
                    for line in T.unroll(2):
                        prefetch(P[0, i, line + ahead, 0], Cache.L2)
                for way in T.unroll(ways):
                    for plane in T.unroll(2):
                        acc[way, plane, vector(0, lanes)] = T.broadcast(0, lanes)
                for g in range(groups):
                    if ahead > 0:
                        for line in T.unroll(lines):
                            prefetch(P[0, i, 2 + g * lines + line + ahead, 0], Cache.L2)
                    group(P, Z, acc, i, g)
                for plane in T.unroll(2):
                    of_rows[plane, i, vector(0, lanes)] = _total(acc, plane, ways, lanes)
            for plane in T.unroll(2):
                C[0, plane, vector(0, FEW)] = C[0, plane, vector(0, FEW)] + sum_four(
                    *[of_rows[plane, k, vector(0, lanes)] for k in range(FEW)]
                )

    return kernel.with_attr("global_symbol", f"codes_{name}")


def coefficients_kernel(
    name: str, codes: Codes, scaled: Callable[[Expr, Expr, int, Expr], Expr]
) -> tirx.PrimFunc:
    """`Products.coefficients`. ``scaled``: of (rows, gamma, row, half), 256 · (bytes of coefficients by high
    bytes of γ) + (the same by low bytes), in lanes.
    """
    lines = codes.lines

    @T.prim_func(s_tir=True, check_well_formed=False)
    def kernel(rows: T.handle, gamma: T.handle, sums: T.handle) -> None:
        groups = T.int32()
        P = T.match_buffer(rows, (1, FEW, groups * lines + 2, LINE), "uint8", offset_factor=1)
        G = T.match_buffer(gamma, (2, LINE), "int8", offset_factor=1)
        C = T.match_buffer(sums, (1, 2, FEW), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0:2, 0:FEW], P[0, 0:FEW, 0 : groups * lines + 2, 0:LINE], G[0:2, 0:LINE])
            T.writes(C[0, 0:2, 0:FEW])
            for half in T.unroll(2):
                C[0, half, vector(0, FEW)] = C[0, half, vector(0, FEW)] + sum_four(
                    *[scaled(P, G, k, half) for k in range(FEW)]
                )

    return kernel.with_attr("global_symbol", f"coefficients_{name}")


def _total(accumulators: Expr, plane: Expr, ways: int, lanes: int) -> Expr:
    total = accumulators[0, plane, vector(0, lanes)]
    for way in range(1, ways):
        total = total + accumulators[way, plane, vector(0, lanes)]
    return total
