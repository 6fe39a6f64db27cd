from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import is_tuple_get_item

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op


class FuseAttention(Rewrite):
    """Rules:

    1. ``attention(rotary(q), rotary(k), v, mask, past key, past value)[0]`` → ``attention_block(q, k, v,
       cos, sin)``.

    The mask and the past tensors drop out: `decoder.py` has proven that they are the causal mask, or that of
    a window, and the engine's own cache. What q, k and v are (projections, with or without a norm of each
    head) is the planner's: one product computes those that have their input in common.
    """

    def rules(self) -> Iterator[Rule]:
        query, key, value, cos, sin, positions, mask, past_key, past_value = anything(9)
        attention = edgebit_op(
            "attention",
            edgebit_op("rotary_embedding", query, cos, sin, positions),
            edgebit_op("rotary_embedding", key, cos, sin, positions),
            value,
            mask,
            past_key,
            past_value,
        )

        def replace(match: Match) -> Any:
            attributes = match[attention].attrs
            return call(
                "attention_block",
                [match[operand] for operand in (query, key, value, cos, sin)],
                num_heads=int(attributes["num_heads"]),
                num_kv_heads=int(attributes["num_kv_heads"]),
                softmax_scale=float(attributes["scale"]),
                window=int(attributes["window"]),
            )

        yield is_tuple_get_item(attention, 0), replace
