"""Model: streaming, stops, the KV cache between runs, and one line for all that cannot be done."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgebit.runtime import ContextFullError, HeadStats, RuntimeModelError
from edgebit.runtime.model import Model
from tests.runtime.builders import CHUNK, CONTEXT, VOCAB, toy_logits
from tests.runtime.conftest import OpenToy
from tests.runtime.toy_bundle import ANSWER, ASSISTANT, BOS, END, SPECIAL, USER, followers

HI = [{"role": "user", "content": "hi"}]
ENDLESS = {**followers("abc", end=None), ord("c"): ord("a")}


def said(model: Model, messages: Sequence[dict[str, str]] = HI, **settings: Any) -> str:
    return "".join(model.chat(messages, **settings))


# ---- streaming and stops ----------------------------------------------------------------------------


def test_an_answer_streams_in_whole_characters(open_toy: OpenToy) -> None:
    assert list(open_toy().chat(HI)) == list(ANSWER)


def test_generate_continues_a_text_as_chat_does(open_toy: OpenToy) -> None:
    model = open_toy()
    assert "".join(model.generate([*model.tokenize("x"), SPECIAL[ASSISTANT]])) == ANSWER
    assert "".join(model.generate("é")) == ANSWER[1:]


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("ok", "é€😀 "),
        ("€", "é"),
        ("é", ""),
        (["nothing", " o"], "é€😀"),
        (["k.", "ok."], "é€😀 "),
        ("o!", ANSWER),  # begins like a stop, is none
        ("ok.!", ANSWER),  # held back until the end
        ("", ANSWER),
    ],
)
def test_nothing_of_a_stop_string_is_shown(open_toy: OpenToy, stop: str | list[str], text: str) -> None:
    model = open_toy()
    assert said(model, stop=stop) == text
    assert model.stats.finish == "stop"


@pytest.mark.parametrize(
    ("max_tokens", "text"), [(1, ""), (2, "é"), (4, "é"), (5, "é€"), (8, "é€"), (13, ANSWER)]
)
def test_a_cut_answer_has_no_broken_character(open_toy: OpenToy, max_tokens: int, text: str) -> None:
    model = open_toy()
    assert said(model, max_tokens=max_tokens) == text
    assert (model.stats.finish, model.stats.generated_tokens) == ("length", max_tokens)


def test_held_text_comes_out_at_the_limit(open_toy: OpenToy) -> None:
    assert said(open_toy(), max_tokens=12, stop="k!") == "é€😀 ok"


def test_special_tokens_are_not_text(open_toy: OpenToy) -> None:
    table = {SPECIAL[ASSISTANT]: ord("a"), ord("a"): SPECIAL[USER], SPECIAL[USER]: ord("b")}
    model = open_toy({**table, ord("b"): SPECIAL[END]})
    assert said(model) == "ab"


# ---- the KV cache between runs ----------------------------------------------------------------------


def test_a_second_turn_evaluates_only_what_is_new(open_toy: OpenToy) -> None:
    model, fresh = open_toy(), open_toy()
    turns = [*HI, {"role": "assistant", "content": said(model)}, {"role": "user", "content": "hi"}]
    prompt = len(model.chat_tokens(turns))
    assert said(model, turns) == said(fresh, turns) == ANSWER
    # The prompt and all of the answer are in the cache: its last token was evaluated to find the stop.
    answer_end = len(model.chat_tokens(HI)) + len(ANSWER.encode())
    assert (model.stats.cached_tokens, model.stats.prompt_tokens) == (answer_end, prompt)
    assert fresh.stats.cached_tokens == 0


def test_the_same_prompt_again_evaluates_its_last_token(open_toy: OpenToy) -> None:
    model = open_toy()
    assert said(model) == said(model) == ANSWER
    assert model.stats.cached_tokens == model.stats.prompt_tokens - 1


def test_reused_and_fresh_caches_give_the_same_samples(open_toy: OpenToy) -> None:
    model, settings = open_toy({}), {"temperature": 300.0, "max_tokens": 12, "seed": 5}
    first = "".join(model.generate(list(range(10)), **settings))
    "".join(model.generate([0, 1, 2, 9, 9, 9], **settings))
    assert "".join(model.generate(list(range(10)), **settings)) == first
    assert model.stats.cached_tokens == 3
    assert "".join(open_toy({}).generate(list(range(10)), **settings)) == first
    assert "".join(model.generate(list(range(10)), **{**settings, "seed": 6})) != first


def test_an_interrupt_between_pieces_of_a_prompt_leaves_the_cache_right(
    open_toy: OpenToy, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompt = open_toy({}), list(range(4 * CHUNK))
    expected = "".join(open_toy({}).generate(prompt, max_tokens=5))
    append = model._engine.append
    calls = []

    def interrupted(ids: Sequence[int]) -> None:
        calls.append(ids)
        if len(calls) == 2:
            raise KeyboardInterrupt  # before the native call
        append(ids)
        if len(calls) == 4:
            raise KeyboardInterrupt  # after it

    monkeypatch.setattr(model._engine, "append", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            "".join(model.generate(prompt, max_tokens=5))
    assert "".join(model.generate(prompt, max_tokens=5)) == expected
    assert model.stats.cached_tokens == 3 * CHUNK


def test_an_answer_left_early_can_be_followed_by_another(open_toy: OpenToy) -> None:
    model = open_toy()
    pieces = model.chat(HI)
    assert [next(pieces), next(pieces)] == ["é", "€"]
    pieces.close()  # type: ignore[attr-defined]
    assert (model.stats.finish, model.stats.generated_tokens) == ("", 5)
    assert said(model) == ANSWER


def test_two_answers_at_once_are_refused(open_toy: OpenToy) -> None:
    model = open_toy()
    first, second = model.chat(HI), model.chat(HI)
    with pytest.raises(RuntimeModelError, match="another run was started"):
        next(first)
    next(second)
    third = model.chat(HI)
    with pytest.raises(RuntimeModelError, match="another run was started"):
        next(second)
    assert "".join(third) == ANSWER


# ---- the context ------------------------------------------------------------------------------------


def test_a_full_context_ends_the_answer_with_an_error_after_the_text(open_toy: OpenToy) -> None:
    model, pieces = open_toy(ENDLESS), []
    with pytest.raises(ContextFullError, match="the context of 48 tokens is full and the answer cut"):
        for piece in model.chat(HI, stop="abd"):
            pieces.append(piece)
    prompt = len(model.chat_tokens(HI))
    assert "".join(pieces) == ("abc" * CONTEXT)[: CONTEXT - prompt + 1]
    assert model.stats.finish == "context"
    assert said(model, max_tokens=3) == "abc"


def test_a_prompt_as_long_as_the_context_still_gives_one_token(open_toy: OpenToy) -> None:
    model = open_toy(ENDLESS)
    assert "".join(model.generate([ord("a")] * CONTEXT, max_tokens=1)) == "b"
    with pytest.raises(ContextFullError, match="the prompt has 49 tokens, the context holds 48"):
        model.generate([ord("a")] * (CONTEXT + 1))
    with pytest.raises(ContextFullError, match="the context is full: 0 of its 48 tokens are used"):
        model.logits([1] * (CONTEXT + 1))


# ---- tokens and logits ------------------------------------------------------------------------------


def test_logits_of_every_token(open_toy: OpenToy) -> None:
    model, ids = open_toy({}), [3, 1, 4, 1, 5, 9, 2, 6, 5]
    logits = model.logits(ids)
    assert logits.shape == (len(ids), VOCAB)
    assert logits.format == "f"
    assert np.asarray(logits).tolist() == toy_logits(ids)
    assert logits[2, 7] == toy_logits(ids)[2][7]


@pytest.mark.parametrize("text", ["", "hello", "é€😀 ok.", "a\0b", "\U0010ffff" * 50, "<|end|> is text"])
def test_text_survives_its_tokens(open_toy: OpenToy, text: str) -> None:
    model = open_toy()
    ids = model.tokenize(text)
    assert ids[0] == SPECIAL[BOS]
    assert model.detokenize(ids) == text
    assert model.tokenize(text, add_bos=False) == ids[1:]


def test_special_tokens_in_text_are_read_and_shown_on_request(open_toy: OpenToy) -> None:
    model = open_toy()
    assert model.tokenize("a<|end|>", add_bos=False, special=True) == [ord("a"), SPECIAL[END]]
    assert model.detokenize([ord("a"), SPECIAL[END]], special=True) == "a<|end|>"
    assert model.detokenize([ord("a"), SPECIAL[END]]) == "a"


def test_lone_surrogates_are_replaced(open_toy: OpenToy) -> None:
    model = open_toy()
    assert model.detokenize(model.tokenize("a\ud800b")) == "a\ufffdb"


def test_bytes_that_python_could_not_decode_are_the_same_bytes_again(open_toy: OpenToy) -> None:
    model = open_toy()
    text = b"a\xe2\x82b\xff".decode("utf-8", "surrogateescape")
    assert model.detokenize(model.tokenize(text)) == b"a\xe2\x82b\xff".decode("utf-8", "replace")
    assert said(model, [{"role": "user", "content": text}]) == ANSWER


# ---- figures ----------------------------------------------------------------------------------------


def test_stats_of_a_run(open_toy: OpenToy) -> None:
    model = open_toy()
    assert model.stats.generated_tokens == 0
    said(model)
    stats = model.stats
    assert stats.prompt_tokens == len(model.chat_tokens(HI))
    assert stats.generated_tokens == len(ANSWER.encode()) + 1  # the stop token too
    assert stats.prefill_tokens_per_second > 0 < stats.decode_tokens_per_second
    assert 0 < stats.prefill_seconds <= stats.time_to_first_token
    assert str(stats).startswith("prompt 5 tokens at ")


def test_every_token_of_a_whole_table_takes_all_logits(open_toy: OpenToy) -> None:
    model = open_toy()
    assert model.head_stats == HeadStats()
    list(model.chat(HI, max_tokens=3, temperature=0.5, min_p=0.1))
    assert model.head_stats == HeadStats(full_passes=3)
    model.logits(model.tokenize("abcd"))
    assert model.head_stats == HeadStats(full_passes=3 + 5)


def test_facts_of_the_model(open_toy: OpenToy) -> None:
    info = open_toy(threads=3).info
    assert (info.vocab_size, info.context, info.chunk, info.threads) == (VOCAB, CONTEXT, CHUNK, 3)


# ---- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1.0}, "temperature -1.0: expected a number from 0 up"),
        ({"temperature": math.nan}, "temperature nan: expected a number from 0 up"),
        ({"temperature": math.inf}, "temperature inf: expected a number from 0 up"),
        ({"top_k": -1}, "top_k -1: expected 0 (all tokens) or more"),
        ({"top_p": 0.0}, "top_p 0.0: expected a number above 0, up to 1"),
        ({"top_p": 1.5}, "top_p 1.5: expected a number above 0, up to 1"),
        ({"min_p": 1.5}, "min_p 1.5: expected a number from 0 (all tokens) to 1"),
        ({"max_tokens": 0}, "max_tokens 0: expected at least 1"),
        ({"max_tokens": 2.5}, "max_tokens 2.5: expected at least 1"),
        ({"temperature": "1"}, "temperature '1': expected a number from 0 up"),
        ({"temperature": None}, "temperature None: expected a number from 0 up"),
        ({"top_k": 1.5}, "top_k 1.5: expected 0 (all tokens) or more"),
        ({"top_p": None}, "top_p None: expected a number above 0, up to 1"),
        ({"seed": None}, "seed None: expected a whole number"),
        ({"stop": [None]}, "stop: expected a list of texts, found NoneType in it"),
        ({"stop": 3}, "stop: expected text, or a list of texts, found int"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(
    open_toy: OpenToy, settings: dict[str, Any], sentence: str
) -> None:
    model = open_toy()
    for call in (lambda: model.chat(HI, **settings), lambda: model.generate("x", **settings)):
        with pytest.raises(RuntimeModelError) as caught:
            call()
        assert str(caught.value) == sentence


def test_prompts_that_cannot_be_answered_are_refused_at_once(open_toy: OpenToy) -> None:
    model = open_toy()
    with pytest.raises(RuntimeModelError, match="the prompt is empty"):
        model.generate([])
    for message in ({"role": "user"}, {"role": "user", "content": 3}, "user"):
        with pytest.raises(RuntimeModelError, match=r"a message is .*: "):
            model.chat([message])  # type: ignore[list-item]
    with pytest.raises(RuntimeModelError, match="NUL character"):
        model.chat([{"role": "user", "content": "a\0b"}])
    with pytest.raises(RuntimeModelError, match="robot"):
        model.chat([{"role": "robot", "content": "a"}])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda model: model.generate(None),
            "the prompt: expected text, or a list of token ids, found NoneType",
        ),
        (
            lambda model: model.generate(b"ab"),
            "the prompt: expected text, or a list of token ids, found bytes",
        ),
        (lambda model: model.generate([1.0]), "token 1.0 is not in the vocabulary"),
        (lambda model: model.chat("hi"), "messages: expected a list of messages, found str"),
        (lambda model: model.chat(HI[0]), "messages: expected a list of messages, found one alone"),
        (lambda model: model.chat(None), "messages: expected a list of messages, found NoneType"),
        (lambda model: model.tokenize(b"ab"), "a text is of type bytes: expected str"),
        (lambda model: model.detokenize(3), "token ids: expected a list of whole numbers, found int"),
        (lambda model: model.logits("ab"), "token ids: expected a list of whole numbers, found str"),
        (lambda model: model.logits(["a"]), "token 'a' is not in the vocabulary"),
    ],
)
def test_arguments_of_another_kind_are_one_line(
    open_toy: OpenToy, call: Callable[[Any], Any], sentence: str
) -> None:
    model = open_toy()
    with pytest.raises(RuntimeModelError) as caught:
        call(model)
    assert str(caught.value).startswith(sentence)


def test_numbers_and_arrays_of_numpy_are_taken(open_toy: OpenToy) -> None:
    model = open_toy()
    ids = np.array([*model.tokenize("x"), SPECIAL[ASSISTANT]])
    settings = {"max_tokens": np.int64(99), "top_k": np.int32(1), "temperature": np.float32(0.5)}
    assert "".join(model.generate(ids, **settings)) == ANSWER  # type: ignore[arg-type]
    assert model.detokenize(ids) == "x"  # type: ignore[arg-type]


def test_an_open_model_is_not_pickled(open_toy: OpenToy) -> None:
    model = open_toy()
    for copy_of in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(RuntimeModelError, match="load the bundle in each process"):
            copy_of(model)


@pytest.mark.parametrize("token", [-1, VOCAB, 2**31, -(2**70)])
def test_token_ids_outside_the_vocabulary_are_refused(open_toy: OpenToy, token: int) -> None:
    model = open_toy()
    with pytest.raises(RuntimeModelError, match=f"{token}"):
        "".join(model.generate([1, token]))
    with pytest.raises(RuntimeModelError, match=f"{token}"):
        model.logits([1, token])
    with pytest.raises(RuntimeModelError, match=f"{token}"):
        model.detokenize([token])
    assert said(model) == ANSWER


def test_a_closed_model_says_so(open_toy: OpenToy) -> None:
    with open_toy() as model:
        pieces = model.chat(HI)
        next(pieces)
    model.close()
    for call in (
        lambda: next(pieces),
        lambda: model.tokenize("x"),
        lambda: model.detokenize([1]),
        lambda: model.logits([1]),
        lambda: said(model),
    ):
        with pytest.raises(RuntimeModelError, match="the model is closed"):
            call()


@pytest.mark.parametrize("threads", [-1, 1000, 2**32 + 1, -(10**30), 1.5, "2"])
def test_impossible_thread_counts_are_refused(open_toy: OpenToy, threads: Any) -> None:
    with pytest.raises(RuntimeModelError, match=f"{threads!r} threads: expected 1 to 256"):
        open_toy(threads=threads)
