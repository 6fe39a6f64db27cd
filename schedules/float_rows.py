"""Elementwise steps over float32 rows: what stands between projections that no kernel fuses.

A unit is a block of LANES columns of all tokens, so that one token too is shared out over the threads. Rows
are [tokens][stride]; the address of a unit is that of its column in the first row. One schedule serves every
tier.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .epilogue import ACTIVATIONS
from .float_ops import LANES, constant, vector
from .tier import Tier


def gated(tier: Tier, activation: str) -> PrimFunc:
    """gate = activation(gate) · up, in place.

    Buffers: gate [n][stride], up [n][stride]. Scalars: count of units, n tokens, stride.
    """
    function = ACTIVATIONS[activation]

    @T.prim_func(s_tir=True)
    def kernel(
        gate_data: T.handle, up_data: T.handle, count: T.int32, tokens: T.int32, stride: T.int32
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        gate = T.match_buffer(gate_data, (tokens, stride), "float32")
        up = T.match_buffer(up_data, (tokens, stride), "float32")
        for t in range(tokens):
            for i in range(count):
                x: T.let = gate[t, vector(i * LANES, LANES)]
                gate[t, vector(i * LANES, LANES)] = function(x) * up[t, vector(i * LANES, LANES)]

    return kernel


def add_bias(tier: Tier) -> PrimFunc:
    """x = x + bias, in place.

    Buffers: x [n][stride], bias [stride]. Scalars: count of units, n tokens, stride.
    """

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle, bias_data: T.handle, count: T.int32, tokens: T.int32, stride: T.int32
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (tokens, stride), "float32")
        bias = T.match_buffer(bias_data, (stride,), "float32")
        for t in range(tokens):
            for i in range(count):
                x[t, vector(i * LANES, LANES)] = (
                    x[t, vector(i * LANES, LANES)] + bias[vector(i * LANES, LANES)]
                )

    return kernel


def add_rows(tier: Tier) -> PrimFunc:
    """x = x + y, in place.

    Buffers: x [n][stride], y [n][stride]. Scalars: count of units, n tokens, stride.
    """

    @T.prim_func(s_tir=True)
    def kernel(x_data: T.handle, y_data: T.handle, count: T.int32, tokens: T.int32, stride: T.int32) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (tokens, stride), "float32")
        y = T.match_buffer(y_data, (tokens, stride), "float32")
        for t in range(tokens):
            for i in range(count):
                x[t, vector(i * LANES, LANES)] = (
                    x[t, vector(i * LANES, LANES)] + y[t, vector(i * LANES, LANES)]
                )

    return kernel


def scale_rows(tier: Tier, factor: float) -> PrimFunc:
    """x = x · factor, in place.

    Buffers: x [n][stride]. Scalars: count of units, n tokens, stride.
    """

    @T.prim_func(s_tir=True)
    def kernel(x_data: T.handle, count: T.int32, tokens: T.int32, stride: T.int32) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (tokens, stride), "float32")
        for t in range(tokens):
            for i in range(count):
                x[t, vector(i * LANES, LANES)] = x[t, vector(i * LANES, LANES)] * constant(factor, LANES)

    return kernel
