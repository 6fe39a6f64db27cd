from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op, product, relax_op


class FuseResidual(Rewrite):
    """Rules, for a projection y with or without its bias:

    1. ``x + rms_norm(y, weight)`` and ``rms_norm(y, weight) + x`` → ``norm_residual(x, y, weight)``
    2. ``x + y`` and ``y + x`` → ``residual(x, y)``
    """

    def rules(self) -> Iterator[Rule]:
        x, weight = anything(2)
        for y in product():
            norm = edgebit_op("rms_norm", y, weight)
            yield relax_op("add", x, norm), _normed(x, y, weight, norm)
            yield relax_op("add", norm, x), _normed(x, y, weight, norm)
        for y in product():
            yield relax_op("add", x, y), _residual(x, y)
            yield relax_op("add", y, x), _residual(x, y)


def _normed(x: DFPattern, y: DFPattern, weight: DFPattern, norm: DFPattern) -> Any:
    def replace(match: Match) -> Any:
        operands = [match[x], match[y], match[weight]]
        return call("norm_residual", operands, eps=float(match[norm].attrs["eps"]))

    return replace


def _residual(x: DFPattern, y: DFPattern) -> Any:
    def replace(match: Match) -> Any:
        return call("residual", [match[x], match[y]])

    return replace
