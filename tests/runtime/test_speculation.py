"""Guessing tokens: the same tokens as without, several of them where the context repeats itself."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgebit.runtime.library import SamplingStruct
from tests.runtime.builders import CHUNK, CONTEXT, VOCAB, Toy, toy_weights

MOST = 8
GREEDY = SamplingStruct(0.0, 0, 1.0, 0.0, 0)
ARGUMENT, TOKEN, FULL = -1, -2, -3


def generate(
    toy: Toy, prompt: Sequence[int], length: int, sampling: SamplingStruct, speculate: bool, most: int = MOST
) -> list[int]:
    """`length` tokens behind a prompt, from as many calls as it takes."""
    assert toy.evaluate(prompt) == 0
    tokens = [toy.library.eb_sample(toy.session, sampling)]
    out = (ctypes.c_int32 * MOST)()
    while len(tokens) < length:
        room = min(most, length - len(tokens))
        count = toy.library.eb_generate(toy.session, tokens[-1], sampling, speculate, out, room)
        assert 1 <= count <= room
        assert toy.position() == len(prompt) + len(tokens) - 1 + count
        tokens += out[:count]
    return tokens


def accepted(toy: Toy) -> int:
    stats = toy.library.eb_session_speculation_stats.argtypes[1]._type_()
    toy.library.eb_session_speculation_stats(toy.session, stats)
    assert stats.accepted <= stats.drafted and stats.tokens == stats.passes + stats.accepted
    return int(stats.accepted)


def circle(length: int) -> dict[int, int]:
    """Every token has a follower far likelier than the rest; they go round."""
    return {token: token // length * length + (token + 1) % length for token in range(VOCAB)}


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_repeats_is_guessed(tmp_path: Path, length: int, threads: int) -> None:
    (tmp_path / "weights.bin").write_bytes(toy_weights(followers=circle(length)))
    alone, guessing = Toy(tmp_path, threads), Toy(tmp_path, threads)
    prompt = [10, 11, 12, 10, 11, 12]
    expected = generate(alone, prompt, 40, GREEDY, speculate=False)
    assert generate(guessing, prompt, 40, GREEDY, speculate=True) == expected
    assert accepted(alone) == 0 < accepted(guessing)


@pytest.mark.parametrize("sampling", [GREEDY, SamplingStruct(200.0, 0, 1.0, 0.0, 7)])
def test_tokens_are_those_of_sampling_one_by_one(tmp_path: Path, sampling: SamplingStruct) -> None:
    weights = toy_weights(followers=circle(4))
    (tmp_path / "weights.bin").write_bytes(weights)
    source = random.Random(3)
    for _ in range(20):
        prompt = source.choices(range(VOCAB), k=source.randrange(1, 12))
        alone, guessing = Toy(tmp_path, 1), Toy(tmp_path, 2)
        expected = generate(alone, prompt, CONTEXT - len(prompt), sampling, speculate=False)
        most = source.randrange(1, MOST + 1)
        assert generate(guessing, prompt, CONTEXT - len(prompt), sampling, True, most) == expected
        assert guessing.logits() == alone.logits()  # rejected guesses leave nothing behind


def test_no_guess_goes_beyond_the_context(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(toy_weights(followers=circle(2)))
    toy = Toy(tmp_path)
    generate(toy, [0, 1] * CHUNK, CONTEXT - 2 * CHUNK + 1, GREEDY, speculate=True)
    assert toy.position() == CONTEXT
    out = (ctypes.c_int32 * MOST)()
    assert toy.library.eb_generate(toy.session, 1, GREEDY, True, out, MOST) == FULL
    assert "the context is full" in toy.sentence()


def test_calls_that_cannot_be_are_refused_and_append_nothing(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    toy, out = Toy(tmp_path), (ctypes.c_int32 * MOST)()
    call = toy.library.eb_generate
    assert call(toy.session, VOCAB, GREEDY, True, out, MOST) == TOKEN
    assert call(toy.session, 1, GREEDY, True, out, 0) == ARGUMENT
    assert call(toy.session, 1, GREEDY, True, None, MOST) == ARGUMENT
    assert call(toy.session, 1, SamplingStruct(-1.0, 0, 1.0, 0.0, 0), True, out, MOST) == ARGUMENT
    assert "out of range" in toy.sentence()
    assert toy.position() == 0
