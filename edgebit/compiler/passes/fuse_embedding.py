from __future__ import annotations

from collections.abc import Iterator

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Rewrite, Rule, anything, relax_op


class FuseEmbedding(Rewrite):
    """Rules:

    1. ``astype(take(table, ids), float32)`` → ``embedding(ids, table)``
    2. ``take(table, ids)`` → ``embedding(ids, table)`` where the table is float32 already
    """

    def rules(self) -> Iterator[Rule]:
        table, ids = anything(2)
        gathered = relax_op("take", table, ids)
        yield relax_op("astype", gathered), lambda match: call("embedding", [match[ids], match[table]])
        yield gathered, lambda match: call("embedding", [match[ids], match[table]])
