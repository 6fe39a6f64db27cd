from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op, relax_op


class FuseResidual(Rewrite):
    """Rules:

    1. ``x + linear(…)`` → ``linear_residual(x, …)``
    2. ``linear(…) + x`` → the same
    """

    def rules(self) -> Iterator[Rule]:
        x, codes, scale, weight, weight_scale = operands = tuple(anything(5))
        linear = edgebit_op("linear", codes, scale, weight, weight_scale)
        yield relax_op("add", x, linear), _residual(operands)
        yield relax_op("add", linear, x), _residual(operands)


def _residual(operands: tuple[DFPattern, ...]) -> Any:
    def replace(match: Match) -> Any:
        return call("linear_residual", [match[operand] for operand in operands])

    return replace
