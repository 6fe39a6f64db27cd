from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op, relax_op


class FuseHead(Rewrite):
    """Rules:

    1. ``matmul(rms_norm(x, w), permute_dims(astype(table, float32)))`` → ``head(x, w, table)``
    2. the same with a float32 table that needs no cast
    """

    def rules(self) -> Iterator[Rule]:
        x, weight, table = anything(3)
        norm = edgebit_op("rms_norm", x, weight)

        def replace(match: Match) -> Any:
            return call("head", [match[x], match[weight], match[table]], eps=match[norm].attrs["eps"])

        yield relax_op("matmul", norm, relax_op("permute_dims", relax_op("astype", table))), replace
        yield relax_op("matmul", norm, relax_op("permute_dims", table)), replace
