"""Tokenizing and back: flags, special tokens, damaged UTF-8, long inputs."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from edgebit.bundle.text import build_text_table
from edgebit.errors import TokenizerError
from tests.text import spaced_for_tests as spaced
from tests.text import tokenizers_for_tests as make
from tests.text.native import BOS, EOS, INVALID, SPECIAL, Text, library


@pytest.fixture(scope="module")
def llama3() -> Text:
    tokenizer = make.llama3()
    stops = [tokenizer.token_to_id(text) for text in ("<|end_of_text|>", "<|eot_id|>")]
    return Text(
        build_text_table(make.content(tokenizer), None, tokenizer.token_to_id("<|begin_of_text|>"), stops)
    )


@pytest.mark.parametrize("name", make.ALL)
@pytest.mark.parametrize("text", make.CORPUS)
def test_sentences_come_back(name: str, text: str) -> None:
    tokenizer = make.ALL[name]()
    native = Text(build_text_table(make.content(tokenizer), None, None, []))
    ids = native.tokenize(text)
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids
    normalized = text if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str(text)
    assert native.detokenize(ids).decode() == normalized


def test_bos_is_added_on_request_only(llama3: Text) -> None:
    tokenizer = make.llama3()
    assert llama3.tokenize("Hi", BOS) == tokenizer.encode("Hi").ids
    assert llama3.tokenize("Hi") == tokenizer.encode("Hi", add_special_tokens=False).ids
    assert llama3.tokenize("", BOS) == [tokenizer.token_to_id("<|begin_of_text|>")]
    assert llama3.tokenize("") == []


def test_special_tokens_are_text_unless_asked_for(llama3: Text) -> None:
    stop = make.llama3().token_to_id("<|eot_id|>")
    assert stop in llama3.tokenize("a<|eot_id|>b", SPECIAL)
    plain = llama3.tokenize("a<|eot_id|>b")
    assert not any(map(llama3.is_special, plain))
    assert llama3.detokenize(plain) == b"a<|eot_id|>b"


def test_what_is_known_of_a_token(llama3: Text) -> None:
    tokenizer = make.llama3()
    stop, header = tokenizer.token_to_id("<|eot_id|>"), tokenizer.token_to_id("<|start_header_id|>")
    assert llama3.is_stop(stop) and llama3.is_special(stop)
    assert llama3.is_special(header) and not llama3.is_stop(header)
    assert llama3.token_bytes(stop) == b"<|eot_id|>"
    assert sorted(llama3.token_bytes(token) for token in range(tokenizer.get_vocab_size()))[:1] == [b"\0"]
    assert llama3.token_bytes(tokenizer.get_vocab_size() + 5) == b""  # a padded embedding has such ids
    assert not llama3.is_stop(-1) and not llama3.is_special(1 << 30)
    assert library().eb_text_token_bytes(llama3._text, -1, None, 0) == INVALID


def test_every_byte_is_a_token(llama3: Text) -> None:
    assert {llama3.token_bytes(token) for token in range(1000)} >= {bytes([byte]) for byte in range(256)}


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=24),
        st.lists(
            st.sampled_from(
                [
                    b"\xf0\x9f\x91\x8d",
                    b"\xe2\x82",
                    b"\xed\xa0\x80",
                    b"\xf4\x90",
                    b"\xc0\xaf",
                    b"\xff",
                    b"a",
                    b" ",
                    b"\xc3",
                    b"\xf0\x9f\x91",
                    b"\x80",
                ]
            )
        ).map(b"".join),
    )
)
def test_damaged_utf8_is_read_as_python_replaces_it(data: bytes) -> None:
    tokenizer = make.llama3()
    native = Text(build_table_once())
    assert (
        native.tokenize(data) == tokenizer.encode(data.decode(errors="replace"), add_special_tokens=False).ids
    )


_TABLE: list[bytes] = []


def build_table_once() -> bytes:
    if not _TABLE:
        _TABLE.append(build_text_table(make.content(make.llama3()), None, None, []))
    return _TABLE[0]


@pytest.mark.parametrize(
    "unit",
    ["a", "abcdefgh", " ", "\n", " \n", "漢字", "e\u0301", "\u0301\u0327", "<", "<|", "1", "<|eot_id|>"],
)
@pytest.mark.parametrize("name", ["llama3", "qwen2", "shuffled", "gemma", "over_spaces", "unigram_bytes"])
def test_long_inputs_without_a_break(unit: str, name: str) -> None:
    tokenizer = (make.ALL | spaced.ALL)[name]()
    native = Text(build_text_table(make.content(tokenizer), None, None, []))
    text = unit * (100_000 // len(unit.encode()))
    begin = time.process_time()
    ids = native.tokenize(text, SPECIAL)
    assert time.process_time() - begin < 1.0  # quadratic merging would take minutes
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids


def test_random_words_of_100_kilobytes_merge_in_the_right_order() -> None:
    source = random.Random(3)
    tokenizer = make.shuffled()
    native = Text(build_text_table(make.content(tokenizer), None, None, []))
    for _ in range(3):
        text = "".join(source.choice("abcde") for _ in range(100_000))
        assert native.tokenize(text) == tokenizer.encode(text).ids


def test_a_short_buffer_gets_the_first_ids_and_the_full_count(llama3: Text) -> None:
    import ctypes

    text = b"one two three four five"
    full = llama3.tokenize(text)
    ids = (ctypes.c_int32 * 3)(-7, -7, -7)
    count = library().eb_text_tokenize(llama3._text, text, len(text), 0, ids, 2)
    assert count == len(full) and list(ids) == [*full[:2], -7]
    assert library().eb_text_tokenize(llama3._text, text, -1, 0, ids, 2) == INVALID


def test_merges_in_both_notations_give_the_same_table() -> None:
    content = json.loads(make.gpt2().to_str())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    lists = build_text_table(make.content(make.gpt2()), None, None, [])
    assert build_text_table(json.dumps(content).encode(), None, None, []) == lists


def test_the_table_is_reproducible() -> None:
    content = make.content(make.qwen2())
    assert build_text_table(content, None, None, [3]) == build_text_table(content, None, None, [3])


def changed(**changes: object) -> bytes:
    return make.with_changes(make.llama3(), **changes)


def changed_model(**changes: object) -> bytes:
    model = json.loads(make.llama3().to_str())["model"]
    return changed(model=model | changes)


def with_token(token: AddedToken) -> bytes:
    tokenizer = make.llama3().from_str(make.llama3().to_str())
    tokenizer.add_tokens([token])
    return make.content(tokenizer)


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
PUNCTUATION = {"type": "Punctuation", "behavior": "Isolated"}
WHITESPACE = {"type": "WhitespaceSplit"}
SPLIT = {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated", "invert": False}


def sequence(*parts: object) -> object:
    return {"type": "Sequence", "pretokenizers": parts}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"{", "not valid JSON"),
        (lambda: changed_model(dropout=0.1), "dropout"),
        (lambda: changed_model(end_of_word_suffix="</w>"), "end_of_word_suffix|cannot be read"),
        (lambda: changed_model(byte_fallback=True), "byte_fallback"),
        (lambda: changed(normalizer={"type": "NFKC"}), "normalizer NFKC"),
        (lambda: changed(normalizer={"type": "Lowercase"}), "normalizer Lowercase"),
        (lambda: changed(pre_tokenizer=None), "spaces have to become U\\+2581"),
        (lambda: changed(pre_tokenizer=BYTE_LEVEL | {"add_prefix_space": True}), "add_prefix_space"),
        (lambda: changed(pre_tokenizer=BYTE_LEVEL | {"use_regex": False}), "without a split pattern"),
        (lambda: changed(pre_tokenizer=sequence(BYTE_LEVEL, BYTE_LEVEL)), "ByteLevel twice"),
        (lambda: changed(pre_tokenizer=sequence(BYTE_LEVEL, PUNCTUATION)), "Punctuation behind ByteLevel"),
        (lambda: changed(pre_tokenizer=sequence(*[DIGITS] * 4, BYTE_LEVEL)), "5 steps, at most 4"),
        (lambda: changed(pre_tokenizer=sequence(WHITESPACE, BYTE_LEVEL)), "pre-tokenizer WhitespaceSplit is"),
        (
            lambda: changed(pre_tokenizer=sequence(SPLIT, BYTE_LEVEL)),
            "unknown split pattern",
        ),
        (lambda: changed(decoder={"type": "Fuse"}), "decoder is Fuse"),
        (
            lambda: with_token(AddedToken("rn", special=True)),
            "ordinary text can become the special token 'rn'",
        ),
    ],
)
def test_what_cannot_be_represented_is_refused(content: object, reason: str) -> None:
    assert callable(content)
    with pytest.raises(TokenizerError, match=reason):
        build_text_table(content(), None, None, [])


def test_a_token_after_the_text_is_for_embeddings_and_two_are_refused() -> None:
    tokenizer = make.llama3().from_str(make.llama3().to_str())
    from tokenizers.processors import TemplateProcessing

    end = "<|end_of_text|>"
    end_id = tokenizer.token_to_id(end)
    tokenizer.post_processor = TemplateProcessing(single=f"$A {end}", special_tokens=[(end, end_id)])
    native = Text(build_text_table(make.content(tokenizer), None, None, [], eos_id=end_id))
    for text in ("", "Hello, world", "a 🙂"):
        assert native.tokenize(text, EOS) == tokenizer.encode(text).ids
        assert native.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).ids
    tokenizer.post_processor = TemplateProcessing(single=f"$A {end} {end}", special_tokens=[(end, end_id)])
    with pytest.raises(TokenizerError, match=r"text \+ special \+ special"):
        build_text_table(make.content(tokenizer), None, None, [])


def test_a_vocabulary_without_all_bytes_is_refused() -> None:
    vocab = {"a": 0, "b": 1}
    content = changed_model(vocab=vocab, merges=[])
    with pytest.raises(TokenizerError, match="lacks 254 of the 256 byte tokens"):
        build_text_table(content, None, None, [])


def test_ids_of_the_config_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TokenizerError, match="no token with the id 99999"):
        build_text_table(make.content(make.gpt2()), None, None, [99999])
