"""Logits have the same bits however the tokens are cut, on every tier and with every number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgebit.runtime import load
from tests.end_to_end.conftest import TinyModel

PROMPT = [(7 * i * i + 3 * i) % 300 for i in range(131)]  # longer than a chunk, no multiple of a tile

PRINT_LOGITS = """
import sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
model = load(sys.argv[1], threads=int(sys.argv[2]))
sys.stdout.buffer.write(bytes(memoryview(model.logits([int(i) for i in sys.argv[3].split(",")]))))
"""


def logits(bundle: Path, tokens: list[int], threads: int = 1, **environment: str) -> bytes:
    """Logits of every token by the bundle's own loader, in a process of its own."""
    command = [sys.executable, "-c", PRINT_LOGITS, str(bundle), str(threads), ",".join(map(str, tokens))]
    result = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def test_decoding_one_by_one_equals_prefill(tiny: TinyModel) -> None:
    with load(tiny.bundle) as model:
        together = np.frombuffer(model.logits(PROMPT), np.uint32).reshape(len(PROMPT), -1)
        model._engine.rewind(0)
        for token, expected in zip(PROMPT, together, strict=True):
            one = np.asarray(model._engine.evaluate_all([token])).view(np.uint32)
            np.testing.assert_array_equal(one[0], expected)


def test_prefill_does_not_depend_on_where_it_is_cut(tiny: TinyModel) -> None:
    with load(tiny.bundle) as model:
        together = np.frombuffer(model.logits(PROMPT), np.uint32).reshape(len(PROMPT), -1)
    with load(tiny.bundle) as model:
        for count in (1, 2, 17, 95, 96, 97, 130, 131):
            prefix = np.frombuffer(model.logits(PROMPT[:count]), np.uint32).reshape(count, -1)
            np.testing.assert_array_equal(prefix, together[:count])
    assert np.isfinite(together.view(np.float32)).all()


def test_threads_do_not_change_a_bit(packed: TinyModel) -> None:
    expected = logits(packed.bundle, PROMPT, threads=1)
    assert len(expected) == len(PROMPT) * packed.compiled.plan.vocab_size * 4
    for threads in (2, 3, 5):
        assert logits(packed.bundle, PROMPT, threads=threads) == expected


def test_tiers_do_not_change_a_bit(tiny: TinyModel) -> None:
    """Every tier this CPU has, forced; the others must be refused, not crash."""
    results = {}
    for tier in tiny.compiled.objects:
        try:
            results[tier] = logits(tiny.bundle, PROMPT[:40], EDGEBIT_TIER=tier)
        except AssertionError as error:
            assert tier in str(error) and "Traceback" in str(error)
    assert list(tiny.compiled.objects)[-1] in results
    assert len(set(results.values())) == 1


def test_a_tier_the_library_does_not_have_is_an_error(packed: TinyModel) -> None:
    with pytest.raises(AssertionError, match="dotprod9"):
        logits(packed.bundle, [1], EDGEBIT_TIER="dotprod9")
