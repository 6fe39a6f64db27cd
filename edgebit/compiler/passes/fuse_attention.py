from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import is_tuple_get_item

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op


class FuseAttention(Rewrite):
    """Rules, with q, k, v = ``linear(codes, scale, …)`` of the same codes:

    1. ``attention(rotary(q), rotary(k), v, mask, past key, past value)[0]`` → ``attention_block(codes, scale,
       …)``.

    The mask and the past tensors drop out: `decoder.py` has proven that they are the causal mask and the
    engine's own cache. One projection computes q, k and v; the block becomes three steps (projection, rotary
    + append, attention).
    """

    def rules(self) -> Iterator[Rule]:
        codes, scale, cos, sin, positions, mask, past_key, past_value = anything(8)
        query, query_scale, key, key_scale, value, value_scale = anything(6)
        rotary_query = edgebit_op(
            "rotary_embedding", edgebit_op("linear", codes, scale, query, query_scale), cos, sin, positions
        )
        rotary_key = edgebit_op(
            "rotary_embedding", edgebit_op("linear", codes, scale, key, key_scale), cos, sin, positions
        )
        attention = edgebit_op(
            "attention",
            rotary_query,
            rotary_key,
            edgebit_op("linear", codes, scale, value, value_scale),
            mask,
            past_key,
            past_value,
        )

        def replace(match: Match) -> Any:
            attributes = match[attention].attrs
            operands = (codes, scale, query, query_scale, key, key_scale, value, value_scale, cos, sin)
            return call(
                "attention_block",
                [match[operand] for operand in operands],
                num_heads=int(attributes["num_heads"]),
                num_kv_heads=int(attributes["num_kv_heads"]),
                softmax_scale=float(attributes["scale"]),
            )

        yield is_tuple_get_item(attention, 0), replace
