from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, product, relax_op


class FuseBias(Rewrite):
    """Rules, for a projection y and a vector of as many values as it has rows:

    1. ``y + bias`` and ``bias + y`` → ``add_bias(y, bias)``
    """

    def rules(self) -> Iterator[Rule]:
        (bias,) = anything(1)
        for y in product(biased=False):
            for pattern in (relax_op("add", y, bias), relax_op("add", bias, y)):
                yield pattern, _add_bias(pattern, y, bias)


def _add_bias(pattern: DFPattern, y: DFPattern, bias: DFPattern) -> Any:
    def replace(match: Match) -> Any:
        if len(match[bias].ty.shape.values) != 1:  # a residual
            return match[pattern]
        return call("add_bias", [match[y], match[bias]])

    return replace
