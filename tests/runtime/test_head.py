"""The lm_head: all logits, whatever the table is like."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.head_cases import KINDS, SCREENED, SETTINGS, STATES, states, table
from tests.runtime.head_model import NOT_FOUND, LmHead, canonical_logits, int8_weights


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["full", "exact", "s4"])
def test_logits_are_those_of_the_table_bit_for_bit(kind: str, threads: int) -> None:
    head = LmHead(KINDS[kind](table()), states(), threads)
    for first, rows in ((0, 1), (STATES - 1, 1), (3, 30)):
        expected = [canonical_logits(table(), hidden) for hidden in states()[first : first + rows]]
        found = head.logits(first, rows)
        assert np.array_equal(found.view(np.uint32), np.stack(expected).view(np.uint32))
    assert head.stats().full_passes == 32
    head.close()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_int8_logits_are_close_to_those_of_the_table(threads: int) -> None:
    head = LmHead(int8_weights(table()), states(), threads)
    expected = np.stack([canonical_logits(table(), hidden) for hidden in states()[5:45]])
    found = head.logits(5, 40)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert np.array_equal(found[:1], head.logits(5, 1))
    assert head.choose(SETTINGS["greedy"]) == NOT_FOUND
    assert head.stats().queries == 0
    head.close()


@pytest.mark.parametrize("kind", SCREENED)
def test_a_vocabulary_of_any_size_is_computed_to_its_end(kind: str) -> None:
    for vocab in (3, 15, 16, 17, 63, 100):
        head = LmHead(KINDS[kind](table()[:vocab]), states(), 3)
        expected = canonical_logits(table()[:vocab], states()[0])
        assert np.array_equal(head.logits()[0], expected)
        assert head.choose(SETTINGS["greedy"]) in (int(expected.argmax()), NOT_FOUND)
        head.close()
