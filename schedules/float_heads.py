"""Heads of any even size in the layout of attention, whose heads are multiples of 16, and back again.

A head [D] lies in a padded one [P] as two halves, each with zeros behind it: rotary embedding rotates halves
against each other, and zeros add nothing to a score. One schedule serves every tier.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .tier import Tier


def spread_heads(tier: Tier, head_dim: int, padded: int) -> PrimFunc:
    """Unit u is head u. Buffers: x [n][stride] with heads [D], out [n][out_stride] with heads [P].

    Scalars: count and begin of the units, n tokens, stride, out_stride.
    """
    half, wide = head_dim // 2, padded // 2

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        stride: T.int32,
        out_stride: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (tokens, stride), "float32")
        out = T.match_buffer(out_data, (tokens, out_stride), "float32")
        for t in range(tokens):
            for i in range(count):
                for part in range(2):
                    for j in range(half):
                        out[t, (begin + i) * padded + part * wide + j] = x[
                            t, (begin + i) * head_dim + part * half + j
                        ]
                    for j in range(wide - half):
                        out[t, (begin + i) * padded + part * wide + half + j] = T.float32(0.0)

    return kernel


def join_heads(tier: Tier, head_dim: int, padded: int) -> PrimFunc:
    """Unit u is head u of H. Buffers: x [n][stride] with heads [P], out [n][out_stride] with heads [D], zeros
    behind the last.

    Scalars: count and begin of the units, n tokens, stride, out_stride, H.
    """
    half, wide = head_dim // 2, padded // 2

    @T.prim_func(s_tir=True)
    def kernel(
        x_data: T.handle,
        out_data: T.handle,
        count: T.int32,
        begin: T.int32,
        tokens: T.int32,
        stride: T.int32,
        out_stride: T.int32,
        heads: T.int32,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (tokens, stride), "float32")
        out = T.match_buffer(out_data, (tokens, out_stride), "float32")
        for t in range(tokens):
            for i in range(count):
                for part in range(2):
                    for j in range(half):
                        out[t, (begin + i) * head_dim + part * half + j] = x[
                            t, (begin + i) * padded + part * wide + j
                        ]
            if begin + count == heads:
                for j in range(out_stride - heads * head_dim):
                    out[t, heads * head_dim + j] = T.float32(0.0)

    return kernel
