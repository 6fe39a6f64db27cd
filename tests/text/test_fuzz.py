"""The native tokenizer gives the ids of the `tokenizers` library: 220,000 random strings over the byte-level
kinds of tokenizer, 90,000 over those of SentencePiece."""

from __future__ import annotations

import random

import pytest

from edgebit.bundle.text import build_text_table
from tests.text import native, spaced_for_tests, strings, tokenizers_for_tests
from tests.text.native import SPECIAL, Text

STRINGS = 20_000  # for each tokenizer that words are cut for by a pattern, with and without special tokens
FEWER = 5_000  # for each other one
ALL = tokenizers_for_tests.ALL | spaced_for_tests.ALL
LATER = {"falcon", "digits", *spaced_for_tests.ALL}


@pytest.mark.parametrize("parse_special", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_random_strings(name: str, parse_special: bool) -> None:
    tokenizer = ALL[name]()
    text = Text(build_text_table(tokenizers_for_tests.content(tokenizer), None, None, []))
    source = random.Random(f"{name} {parse_special}")
    make = strings.random_word if "shuffled" in name else strings.random_string
    inputs = [make(source) for _ in range(FEWER if name in LATER else STRINGS)]
    if name == "unigram_bytes" and not parse_special:  # the library finds them in the vocabulary all the same
        inputs = [text for text in inputs if not any(token in text for token in spaced_for_tests.SPECIAL)]
    tokenizer.encode_special_tokens = not parse_special
    expected = tokenizer.encode_batch_fast(inputs, add_special_tokens=False)
    for string, encoding in zip(inputs, expected, strict=True):
        assert text.tokenize(string, SPECIAL * parse_special) == encoding.ids, ascii(string)


@pytest.mark.parametrize("name", ["llama3", "gpt2", "qwen2", "falcon", "digits"])
def test_every_boundary_of_the_character_classes(name: str) -> None:
    """Both sides of every place where letter, number, space and other change, between all kinds of
    neighbours."""
    from edgebit.bundle.unicode_tables import CLASS_STARTS

    codes = sorted({start >> 4 for start in CLASS_STARTS} | {(start >> 4) - 1 for start in CLASS_STARTS[1:]})
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    inputs = [f"a{c}b {c}1{c}{c}.{c}\n{c}  {c}" for c in characters]
    inputs += [
        f"'{c} it'{c} x'{c}e 'l{c}"
        for c in map(chr, [*range(0x20, 0x600), *range(0x1E00, 0x2200), 0xFB05, 0xFB06])
    ]
    tokenizer = tokenizers_for_tests.ALL[name]()
    text = Text(build_text_table(tokenizers_for_tests.content(tokenizer), None, None, []))
    for string, encoding in zip(
        inputs, tokenizer.encode_batch_fast(inputs, add_special_tokens=False), strict=True
    ):
        assert text.tokenize(string, SPECIAL) == encoding.ids, ascii(string)


def test_the_fuzz_would_notice_another_split_pattern() -> None:
    """A check of the check: the Llama-3 table read as GPT-2 must fail on the same strings."""
    tokenizer = tokenizers_for_tests.llama3()
    table = bytearray(build_text_table(tokenizers_for_tests.content(tokenizer), None, None, []))
    assert table[24] == 2
    table[24] = 1
    text = native.Text(bytes(table))
    source = random.Random(1)
    inputs = [strings.random_string(source) for _ in range(200)]
    assert any(
        text.tokenize(string, SPECIAL) != tokenizer.encode(string, add_special_tokens=False).ids
        for string in inputs
    )
