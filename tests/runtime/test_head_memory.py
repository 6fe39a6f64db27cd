"""The lm_head's table in memory: rows are read from the file, taken from the mapping where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.runtime.head_cases import KINDS, SCREENED, SETTINGS, WIDTH, states, table
from tests.runtime.head_model import LmHead, bfloat16, exact_weights


def resident(data: npt.NDArray[np.uint8]) -> int:
    """Kilobytes of a mapped array that are in this process, in however many parts the system keeps it."""
    begin, total, inside = data.ctypes.data, 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            start = int(first.split("-")[0], 16)
            inside = begin - 65536 < start < begin + data.size
        elif inside and first == "Rss:":
            total += int(line.split()[1])
    return total


def test_rows_read_here_and_there_do_not_stay_in_memory() -> None:
    """Little of the second plane is mapped, but while every token takes all of it."""
    chance = np.random.default_rng(4)
    wide = bfloat16(chance.standard_normal((20000, WIDTH)) * 0.05)
    made = exact_weights(wide, states())
    kilobytes = made.data.size / 1024
    head = LmHead(made, states(), 2)
    everything = head.logits()
    assert resident(made.data) > kilobytes * 0.9
    head.choose(SETTINGS["greedy"])
    screened = resident(made.data)
    assert kilobytes / 3 < screened < kilobytes * 0.6
    for row in range(30):
        head.choose(SETTINGS["top-k 40"], row=row)
    assert head.stats().computed_rows > 2 * 128
    assert resident(made.data) < screened + kilobytes * 0.1
    assert np.array_equal(head.logits(), everything)
    head.close()


@pytest.mark.parametrize("kind", SCREENED)
def test_rows_that_cannot_be_read_are_taken_from_the_mapping(kind: str) -> None:
    made = KINDS[kind](table())
    heads = [LmHead(made, states(), 2, file_is_readable=readable) for readable in (True, False)]
    for row in range(len(states())):
        first, second = (head.choose(SETTINGS["top-k 40"], row=row) for head in heads)
        assert first == second
    for head in heads:
        assert head.stats().computed_rows > 0
        head.close()
