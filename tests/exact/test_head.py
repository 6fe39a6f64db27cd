"""The token that screening finds is the one all logits choose, and the planes hold the very table."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from tests.exact.models import SETTINGS, all_logits, engine_of, last_logits, text

POSITIONS = 2000


@pytest.mark.parametrize("model", ["screened", "coded", "builtin"])
def test_screening_chooses_what_all_logits_choose(model: str, request: pytest.FixtureRequest) -> None:
    bundle = request.getfixturevalue(model)
    with engine_of(bundle) as engine:
        context, vocab_size = engine.info.context, engine.info.vocab_size
        tokens = text(POSITIONS, vocab_size)
        for token, sampling in zip(tokens, islice(cycle(SETTINGS), POSITIONS), strict=True):
            if engine.position == context:
                engine.rewind(0)
            engine.evaluate([token])
            screened = engine.sample(sampling)
            last_logits(engine)  # from here on the engine has all logits, and samples from them
            assert engine.sample(sampling) == screened, (engine.position, sampling)
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
