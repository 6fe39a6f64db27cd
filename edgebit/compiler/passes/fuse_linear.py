from __future__ import annotations

from collections.abc import Iterator

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Rewrite, Rule, anything, edgebit_op


class FuseLinear(Rewrite):
    """Rules:

    1. ``dequantize(ternary_matmul(codes, weight), scale, weight_scale)`` → ``linear(codes, scale, weight,
       weight_scale)``: the int32 accumulators stay in registers.
    """

    def rules(self) -> Iterator[Rule]:
        codes, weight, scale, weight_scale = anything(4)
        accumulator = edgebit_op("ternary_matmul", codes, weight)
        yield (
            edgebit_op("dequantize", accumulator, scale, weight_scale),
            lambda match: call("linear", [match[codes], match[scale], match[weight], match[weight_scale]]),
        )
