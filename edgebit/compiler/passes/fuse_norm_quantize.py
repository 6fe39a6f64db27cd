from __future__ import annotations

from collections.abc import Iterator

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Rewrite, Rule, anything, edgebit_op


class FuseNormQuantize(Rewrite):
    """Rules:

    1. ``quantize_activation(rms_norm(x, weight))`` → ``norm_quantize(x, weight)``: the normalised floats
       never reach memory.
    """

    def rules(self) -> Iterator[Rule]:
        x, weight = anything(2)
        norm = edgebit_op("rms_norm", x, weight)
        yield (
            edgebit_op("quantize_activation", norm),
            lambda match: call("norm_quantize", [match[x], match[weight]], eps=match[norm].attrs["eps"]),
        )
