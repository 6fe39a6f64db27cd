"""The token that screening finds is the one all logits choose, and the planes hold the very table."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from tests.exact.models import SETTINGS, all_logits, engine_of, last_logits, text

POSITIONS = 2000


@pytest.mark.parametrize("models", [("screened", "coded"), ("builtin",)], ids="+".join)
def test_screening_chooses_what_all_logits_choose(
    models: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """Forms of one lm_head side by side: all logits, which take most of the time, are those of the first."""
    with ExitStack() as stack:
        engines = [stack.enter_context(engine_of(request.getfixturevalue(model))) for model in models]
        first = engines[0]
        tokens = text(POSITIONS, first.info.vocab_size)
        for token, sampling in zip(tokens, islice(cycle(SETTINGS), POSITIONS), strict=True):
            for engine in engines:
                if engine.position == engine.info.context:
                    engine.rewind(0)
                engine.evaluate([token])
            screened = [engine.sample(sampling) for engine in engines]
            last_logits(first)  # from here on the engine has all logits, and samples from them
            assert screened == [first.sample(sampling)] * len(engines), (first.position, sampling)
        for engine in engines:
            stats = engine.head_stats()
            assert stats.queries == POSITIONS and stats.fallbacks < POSITIONS / 20


@pytest.mark.parametrize("model", ["screened", "coded"])
def test_planes_give_the_logits_of_the_table(
    model: str, unscreened: Path, request: pytest.FixtureRequest
) -> None:
    with engine_of(request.getfixturevalue(model)) as planes, engine_of(unscreened) as table:
        tokens = text(64, planes.info.vocab_size)
        np.testing.assert_array_equal(all_logits(planes, tokens), all_logits(table, tokens))
        for sampling in SETTINGS:
            for token in tokens[:20]:
                planes.evaluate([token])
                table.evaluate([token])
                assert planes.sample(sampling) == table.sample(sampling)
