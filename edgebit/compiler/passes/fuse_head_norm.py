from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op, relax_op


class FuseHeadNorm(Rewrite):
    """Rules:

    1. ``reshape(rms_norm(reshape(x, split), weight), shape of x)`` → ``head_norm(x, weight)``

    Whether the weight is as long as a head is checked where the heads are known, by the planner.
    """

    def rules(self) -> Iterator[Rule]:
        x, weight, split, joined = anything(4)
        norm = edgebit_op("rms_norm", relax_op("reshape", x, split), weight)

        def replace(match: Match) -> Any:
            return call("head_norm", [match[x], match[weight]], eps=float(match[norm].attrs["eps"]))

        yield relax_op("reshape", norm, joined), replace
