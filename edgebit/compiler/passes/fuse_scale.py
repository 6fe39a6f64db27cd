from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import is_const

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, relax_op


class FuseScale(Rewrite):
    """Rules:

    1. ``x · constant`` → ``scale(x, factor)``, where the constant is one number
    """

    def rules(self) -> Iterator[Rule]:
        (x,) = anything(1)
        factor = is_const()
        product = relax_op("multiply", x, factor)

        def replace(match: Match) -> Any:
            value = match[factor].value.numpy()
            return call("scale", [match[x]], factor=float(value)) if value.ndim == 0 else match[product]

        yield product, replace
