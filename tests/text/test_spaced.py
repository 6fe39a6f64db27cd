"""SentencePiece's kinds of tokenizer: what is special about their text, their bytes and their spaces."""

from __future__ import annotations

import codecs
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers

from edgebit.bundle.text import build_text_table
from edgebit.bundle.text_steps import Split
from edgebit.bundle.text_tokenizer import read_tokenizer_json
from edgebit.errors import TokenizerError
from tests.text import spaced_for_tests as spaced
from tests.text import strings
from tests.text import tokenizers_for_tests as make
from tests.text.native import BOS, SPECIAL, Text


def opened(tokenizer: Tokenizer, bos: int | None = None) -> Text:
    return Text(build_text_table(make.content(tokenizer), None, bos, []))


TEXTS: dict[str, Text] = {}


def text_of(name: str) -> Text:
    if name not in TEXTS:
        TEXTS[name] = opened(spaced.ALL[name]())
    return TEXTS[name]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(spaced.ALL)), st.text(), st.booleans())
def test_any_text_has_the_ids_of_the_library(name: str, text: str, parse_special: bool) -> None:
    tokenizer = spaced.ALL[name]()
    tokenizer.encode_special_tokens = not parse_special
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    assert text_of(name).tokenize(text, SPECIAL * parse_special) == expected


@pytest.mark.parametrize("name", spaced.ALL)
def test_text_comes_back_as_the_library_decodes_it(name: str) -> None:
    """All at once, and token by token as an answer is shown."""
    tokenizer, native = spaced.ALL[name](), text_of(name)
    source = random.Random(4)
    for _ in range(600):
        ids = native.tokenize(strings.random_string(source), SPECIAL)
        expected = tokenizer.decode(ids, skip_special_tokens=False)
        assert native.detokenize(ids).decode() == expected
        stream = codecs.getincrementaldecoder("utf-8")()
        pieces = [stream.decode(native.token_bytes(token, i == 0)) for i, token in enumerate(ids)]
        assert "".join(pieces) == expected


def test_a_character_without_a_token_becomes_its_bytes() -> None:
    native, tokenizer = text_of("llama2"), spaced.llama2()
    smile = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in "🙂".encode()]
    ids = native.tokenize("🙂")
    assert ids == [tokenizer.token_to_id(spaced.SPACES), *smile]
    assert [native.token_bytes(token) for token in smile] == [bytes([byte]) for byte in "🙂".encode()]
    assert not any(map(native.is_special, smile))


def test_a_space_is_put_in_front_as_the_kind_has_it() -> None:
    """Of every piece between special tokens (Llama-2 as it was), of the first (as it is), of none (Gemma)."""
    space = spaced.llama2().token_to_id(spaced.SPACES)

    def begins_with_space(name: str, text: str) -> list[bool]:
        """Of each piece."""
        native = text_of(name)
        ids = native.tokenize(text, SPECIAL)
        pieces = [i for i, token in enumerate(ids) if i == 0 or ids[i - 1] == 2]
        return [native.token_bytes(ids[i]).startswith(b" ") for i in pieces]

    assert begins_with_space("llama2", "a</s>b") == [True, True]
    assert begins_with_space("llama2_first", "a</s>b") == [True, False]
    assert begins_with_space("gemma", "a</s>b") == [False, False]
    assert text_of("llama2").tokenize(" a")[0] != space or text_of("llama2_first").tokenize(" a") != text_of(
        "llama2"
    ).tokenize(" a")
    assert text_of("llama2_first").tokenize("a") == text_of("llama2_first").tokenize(" a")


def test_the_first_space_goes_when_text_begins_and_stays_when_it_goes_on() -> None:
    for name in ("llama2", "llama2_first"):
        native = text_of(name)
        ids = native.tokenize("the the")
        assert native.token_bytes(ids[0]) == b" the" and native.token_bytes(ids[0], True) == b"the"
    native = text_of("gemma")
    ids = native.tokenize(" the")
    assert native.token_bytes(ids[0], True) == native.token_bytes(ids[0])
    assert text_of("unigram").token_bytes(text_of("unigram").tokenize("x")[0], True) in (b"", b"x")


def test_bos_comes_once() -> None:
    tokenizer = spaced.llama2()
    native = opened(tokenizer, 1)
    assert native.tokenize("the fox", BOS) == tokenizer.encode("the fox").ids
    assert native.tokenize("", BOS) == [1]


def test_words_are_kept_short_where_no_token_goes_over_a_space() -> None:
    def stages(name: str) -> list[Split]:
        return list(read_tokenizer_json(make.content(spaced.ALL[name]())).stages)

    assert stages("llama2") == stages("llama2_first") == stages("gemma") == [Split.BEFORE_SPACES]
    assert stages("over_spaces") == stages("spaced_shuffled") == stages("unigram_bytes") == []
    assert stages("metaspace") == stages("unigram") == [Split.BEFORE_SPACE]


def test_a_vocabulary_cut_where_it_may_not_be_would_be_noticed() -> None:
    """A check of the check: with that stage forced on tokens that go over spaces, ids differ."""
    tokenizer = spaced.over_spaces()
    table = bytearray(build_text_table(make.content(tokenizer), None, None, []))
    assert table[24] == 0
    table[24] = Split.BEFORE_SPACES
    native = Text(bytes(table))
    text = make.CORPUS[0]
    assert native.tokenize(text) != tokenizer.encode(text).ids


def changed(name: str, **changes: Any) -> bytes:
    return make.with_changes(spaced.ALL[name](), **changes)


def changed_model(name: str, **changes: Any) -> bytes:
    return changed(name, model=json.loads(spaced.ALL[name]().to_str())["model"] | changes)


def without(name: str, token: str) -> bytes:
    model = json.loads(spaced.ALL[name]().to_str())["model"]
    return changed_model(name, vocab={text: i for text, i in model["vocab"].items() if text != token})


def rebuilt(name: str, **parts: Any) -> bytes:
    tokenizer = Tokenizer.from_str(spaced.ALL[name]().to_str())
    for key, part in parts.items():
        setattr(tokenizer, key, part)
    return make.content(tokenizer)


CHARACTER_MAP = bytes([4, 0, 0, 0, 0, 0, 0, 0, 0])  # a trie of one unit, a text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: without("llama2", "<0x41>"), r"1 of the 256 byte tokens missing \(<0x41>"),
        (lambda: changed_model("unigram", unk_id=None), "unigram model without an unknown token"),
        (
            lambda: rebuilt("llama2", normalizer=normalizers.Prepend(spaced.SPACES)),
            "Prepend normalizer without",
        ),
        (lambda: rebuilt("llama2", normalizer=normalizers.NFKC()), "normalizer NFKC is not supported"),
        (
            lambda: rebuilt("unigram", normalizer=normalizers.Precompiled(CHARACTER_MAP)),
            "normalizer Precompiled: its character map works on grapheme clusters",
        ),
        (
            lambda: rebuilt("llama2", normalizer=normalizers.Replace("''", '"')),
            r"normalizer Replace \{.*\} is not supported",
        ),
        (
            lambda: rebuilt("llama2", pre_tokenizer=pre_tokenizers.Metaspace()),
            "both a Prepend normalizer and Metaspace",
        ),
        (
            lambda: rebuilt("llama2_first", pre_tokenizer=pre_tokenizers.Metaspace(replacement="_")),
            "Metaspace with replacement '_'",
        ),
        (
            lambda: rebuilt("gemma", pre_tokenizer=pre_tokenizers.Split("a", "isolated")),
            "pre-tokenizer Split is not supported",
        ),
        (lambda: rebuilt("gemma", normalizer=None), "pre-tokenizer Split is not supported"),
        (lambda: changed("llama2", decoder=None), "the decoder none is not supported"),
        (
            lambda: changed("llama2", decoder={"type": "Strip", "content": " ", "start": 1, "stop": 0}),
            "the decoder Strip is not supported",
        ),
    ],
)
def test_what_cannot_be_represented_is_refused(content: Any, reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason):
        build_text_table(content(), None, None, [])


def test_text_never_becomes_a_special_token() -> None:
    for name in ("llama2", "gemma", "unigram", "unigram_bytes", "metaspace"):
        tokenizer, native = spaced.ALL[name](), text_of(name)
        for text in ("<s>", "</s>", "a</s> b", "<|im_end|>", "<start_of_turn>"):
            assert not {1, 2} & set(native.tokenize(text)) or name.startswith("unigram")
            special = {token for token in native.tokenize(text) if native.is_special(token)}
            assert special <= {tokenizer.token_to_id("<unk>")}


def test_a_token_that_text_can_become_is_refused_as_special() -> None:
    tokenizer = Tokenizer.from_str(spaced.llama2().to_str())
    tokenizer.add_special_tokens([AddedToken("he")])
    with pytest.raises(TokenizerError, match="ordinary text can become the special token 'he'"):
        build_text_table(make.content(tokenizer), None, None, [])
