"""The same bits on every tier, with any number of threads, for every length of a prompt, guessing or not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgebit.runtime import load
from edgebit.runtime.errors import RuntimeModelError
from tests.exact.models import SETTINGS, all_logits, engine_of, last_logits, text

LONGEST = 1024
THREADS = (1, 2, 3, 7)


def test_a_prompt_of_every_length_gives_the_logits_of_its_tokens_one_by_one(narrow: Path) -> None:
    with engine_of(narrow) as engine:
        tokens, chunk = text(LONGEST, engine.info.vocab_size), engine.info.chunk
        expected = []
        for token in tokens:
            engine.evaluate([token])
            expected.append(hashlib.sha256(last_logits(engine)).digest())
        for start in range(0, LONGEST, chunk):
            for length in range(start + 1, min(start + chunk, LONGEST) + 1):
                engine.rewind(start)
                engine.evaluate(tokens[start:length])
                assert hashlib.sha256(last_logits(engine)).digest() == expected[length - 1], length
        for length in (*range(chunk + 1, LONGEST, 83), LONGEST):
            engine.rewind(0)
            engine.evaluate(tokens[:length])
            assert hashlib.sha256(last_logits(engine)).digest() == expected[length - 1], length


def test_threads_do_not_change_a_bit(screened: Path) -> None:
    results = []
    for threads in THREADS:
        with engine_of(screened, threads) as engine:
            tokens = text(40, engine.info.vocab_size)
            prompt = all_logits(engine, tokens)
            answer = [tokens[-1]]
            for _ in range(24):
                answer += engine.generate(answer[-1], SETTINGS[1], speculate=False)
            results.append((prompt, last_logits(engine), answer))
    for other in results[1:]:
        np.testing.assert_array_equal(other[0], results[0][0])
        np.testing.assert_array_equal(other[1], results[0][1])
        assert other[2] == results[0][2]


def test_tiers_do_not_change_a_bit(screened: Path) -> None:
    tiers = json.loads((screened / "manifest.json").read_text())["target"]["tiers"]
    results = {}
    for tier in tiers:
        try:
            with engine_of(screened, tier=tier) as engine:
                tokens = text(24, engine.info.vocab_size)
                prompt = all_logits(engine, tokens).tobytes()
                answer = [tokens[-1]]
                for _ in range(12):
                    answer += engine.generate(answer[-1], SETTINGS[2], speculate=False)
                results[tier] = (prompt, last_logits(engine).tobytes(), tuple(answer))
        except RuntimeModelError as error:
            assert f"EDGEBIT_TIER={tier}: this CPU lacks" in str(error)
    assert tiers[-1] in results and len(set(results.values())) == 1


@pytest.mark.parametrize("model", ["screened", "builtin"])
@pytest.mark.parametrize("setting", range(len(SETTINGS)))
def test_guessing_does_not_change_a_token(model: str, setting: int, request: pytest.FixtureRequest) -> None:
    sampling = SETTINGS[setting]
    answers = []
    with load(request.getfixturevalue(model)) as opened:
        prompt = text(48, opened.info.vocab_size) * 2
        for speculate in (False, True):
            engine = opened._engine
            engine.rewind(0)
            engine.evaluate(prompt)
            answer = [engine.sample(sampling)]
            while len(answer) < 120:
                answer += engine.generate(answer[-1], sampling, speculate)
            answers.append(answer[:120])
        assert opened.speculation_stats.passes > 0
    assert answers[0] == answers[1]
