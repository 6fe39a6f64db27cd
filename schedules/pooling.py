"""From hidden states to the embedding of a text.

Rows are [blocks][4][16] float32 as in `float_norm`. Nothing is rounded to fewer bits: no products that have
to be exact follow.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from .float_norm import added, norm_rows, scaled
from .float_ops import (
    ALL,
    LANES,
    PARTIALS,
    canonical_nan,
    constant,
    mul,
    splat,
    sum_partials,
    tree_sum,
)
from .tier import Tier

SMALLEST_LENGTH = 1e-12
"""Of a vector that is divided by its length, as torch.nn.functional.normalize has it."""


def pool_last(tier: Tier, eps: float) -> PrimFunc:
    """out = (x · r) · weight, r = 1 / sqrt(mean(x²) + eps), of the last row.

    Buffers and scalars as of `norm_rows`: one row out.
    """
    return norm_rows(eps, scaled, one_row=True)


def pool_mean(tier: Tier, eps: float) -> PrimFunc:
    """out + (x · r) · weight of each row, one row after the other: `normalize` makes their mean of it.

    Buffers and scalars as of `norm_rows`: one row out.
    """
    return norm_rows(eps, added, one_row=True)


def normalize(tier: Tier) -> PrimFunc:
    """out = m / max(|m|, 1e-12) of the mean m = x / states; NaN is the canonical one.

    Buffers: x [P], out [P]. Scalars: P / 64, states.
    """

    @T.prim_func(s_tir=True)
    def kernel(x_data: T.handle, out_data: T.handle, blocks: T.int32, states: T.int32) -> None:
        T.func_attr({"tirx.noalias": True})
        x = T.match_buffer(x_data, (blocks, PARTIALS, LANES), "float32")
        out = T.match_buffer(out_data, (blocks, PARTIALS, LANES), "float32")
        partial = T.alloc_buffer((PARTIALS, LANES), "float32")
        divisor = T.alloc_buffer((2,), "float32")
        divisor[0] = T.cast(states, "float32")
        for j in T.unroll(PARTIALS):
            partial[j, ALL] = constant(0.0, LANES)
        for block in range(blocks):
            for j in T.unroll(PARTIALS):
                mean: T.let = x[block, j, ALL] / splat(divisor[0], LANES)
                out[block, j, ALL] = mean
                partial[j, ALL] = partial[j, ALL] + mul(mean, mean)
        total: T.let = sum_partials(partial, (ALL,))
        divisor[1] = T.max(T.sqrt(tree_sum(total)), T.float32(SMALLEST_LENGTH))
        for block in range(blocks):
            for j in T.unroll(PARTIALS):
                out[block, j, ALL] = canonical_nan(out[block, j, ALL] / splat(divisor[1], LANES))

    return kernel
