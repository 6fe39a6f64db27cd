"""benchmarks/graphs.py: every engine is timed, and other outputs are refused. (How fast, no test asserts.)"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.graphs import Contender, check, measure
from edgebit.errors import EdgebitError


def contender(engine: str, value: float) -> Contender:
    return Contender(engine, 1, lambda: np.full(3, value, np.float32))


def test_every_contender_gets_a_figure() -> None:
    figures = measure("model", [contender("one", 1.0), contender("other", 1.0)], rounds=3)
    assert [(each.model, each.engine, each.threads) for each in figures] == [
        ("model", "one", 1),
        ("model", "other", 1),
    ]
    assert all(each.ms > 0 and each.cpu_ms > 0 for each in figures)


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_outputs_that_differ_are_no_race(value: float) -> None:
    check("model", [contender("one", 1.0), contender("other", 1.001)])
    with pytest.raises(EdgebitError, match="model: outputs of other and one differ by"):
        check("model", [contender("one", 1.0), contender("other", value)])
