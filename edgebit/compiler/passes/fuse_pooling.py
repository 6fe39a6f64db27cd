from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op

POOLINGS = ("last", "mean")


class FusePooling(Rewrite):
    """Rules, for each kind of pooling:

    1. ``normalize(pool_last(rms_norm(x, w), mask))`` → ``pooled_head(x, w, pooling="last")``

    The mask drops out: the engine embeds one text at a time, of which no token is padding.
    """

    def rules(self) -> Iterator[Rule]:
        for pooling in POOLINGS:
            x, weight, mask = anything(3)
            norm = edgebit_op("rms_norm", x, weight)
            pooled = edgebit_op(f"pool_{pooling}", norm, mask)
            yield edgebit_op("normalize", pooled), _pooled_head(norm, (x, weight), pooling)


def _pooled_head(norm: DFPattern, operands: tuple[DFPattern, ...], pooling: str) -> Callable[[Match], Any]:
    def replace(match: Match) -> Any:
        arguments = [match[operand] for operand in operands]
        return call("pooled_head", arguments, eps=match[norm].attrs["eps"], pooling=pooling)

    return replace
