"""A SentencePiece vocabulary in a GGUF file gives the tokens that SentencePiece itself gives."""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from edgebit.bundle.text import build_text_table
from edgebit.errors import ConfigError, TokenizerError
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.vocabulary import read_vocabulary
from edgebit.model.tokenizer import TokenizerFiles
from tests.text.native import BOS, SPECIAL, Text
from tests.text.strings import random_string
from tests.text.tokenizers_for_tests import CORPUS

PATH = Path("model.gguf")
ROWS = ["aaaa aaaaaa 0000000 ------ ....... aaabaaab", "a    b  c        d", "the  the   the    the"]
UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 2, 3, 4, 5, 6


@functools.cache
def trained(prefixed: bool) -> Any:
    """As Llama's: BPE, bytes for rare characters, nothing normalized, rows of spaces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CORPUS, *ROWS] * 5),
        model_writer=model,
        model_type="bpe",
        vocab_size=520,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        add_dummy_prefix=prefixed,
        character_coverage=0.98,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def values(prefixed: bool = True, **changes: Any) -> dict[str, Any]:
    """tokenizer.ggml.* as convert_hf_to_gguf.py writes it."""
    model = trained(prefixed)
    count = model.get_piece_size()

    def kind(piece: int) -> int:
        kinds = {
            UNKNOWN: model.is_unknown,
            CONTROL: model.is_control,
            BYTE: model.is_byte,
            UNUSED: model.is_unused,
        }
        return next((number for number, holds in kinds.items() if holds(piece)), 1)

    entries = {
        "model": "llama",
        "pre": "default",
        "tokens": [model.id_to_piece(i) for i in range(count)],
        "scores": np.array([model.get_score(i) for i in range(count)], np.float32),
        "token_type": np.array([kind(i) for i in range(count)], np.int32),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "add_space_prefix": prefixed,
    } | changes
    return {f"tokenizer.ggml.{key}": value for key, value in entries.items() if value is not None}


def read(given: dict[str, Any]) -> TokenizerFiles:
    return read_vocabulary(PATH, Metadata(str(PATH), given | {"general.architecture": "llama"}), 10000)


def opened(files: TokenizerFiles) -> Text:
    return Text(build_text_table(files.tokenizer_json, None, files.bos_token_id, files.stop_token_ids))


def texts(count: int) -> Sequence[str]:
    """Half of them out of what pieces overlap in."""
    source = random.Random(8)
    overlapping = ["a", "aa", " ", "  ", "0", "-", ".", "b", "the"]
    rows = [
        "".join(source.choice(overlapping) for _ in range(source.randrange(1, 30))) for _ in range(count // 2)
    ]
    return [*rows, *(random_string(source).replace("\0", "") or "x" for _ in range(count // 2))]


@pytest.mark.parametrize("prefixed", [True, False], ids=["llama", "gemma"])
def test_fuzzed_strings_become_the_pieces_of_sentencepiece(prefixed: bool) -> None:
    native, model = opened(read(values(prefixed))), trained(prefixed)
    for text in texts(4_000):
        ids = native.tokenize(text)
        assert ids == model.encode(text), ascii(text)
        assert native.detokenize(ids).decode() == model.decode(ids)


@functools.cache
def with_equal_scores() -> Any:
    """The same pieces, thirty of each score."""
    model = sentencepiece_model_pb2.ModelProto.FromString(trained(True).serialized_model_proto())
    for piece in model.pieces:
        piece.score = float(int(piece.score / 30))
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def test_of_equal_scores_the_leftmost_is_first() -> None:
    """Not so in the order of the merges alone, which is all that the library knows: a check of the check."""
    model = with_equal_scores()
    scores = np.array([model.get_score(i) for i in range(model.get_piece_size())], np.float32)
    files = read(values(scores=scores))
    native, strings = opened(files), texts(2000)
    expected = [model.encode(text) for text in strings]
    assert [native.tokenize(text) for text in strings] == expected
    tree = json.loads(files.tokenizer_json)
    del tree["model"]["merge_ranks"]
    ordered = Text(build_text_table(json.dumps(tree).encode(), None, None, []))
    assert sum(ordered.tokenize(text) != ids for text, ids in zip(strings, expected, strict=True)) > 5


def test_bos_stops_and_special_tokens() -> None:
    files = read(values())
    assert (files.bos_token_id, files.stop_token_ids) == (1, (2,))
    native = opened(files)
    assert native.tokenize("the", BOS) == [1, *trained(True).encode("the")]
    assert read(values(add_bos_token=False)).bos_token_id is None
    assert [native.is_special(token) for token in range(4)] == [True, True, True, False]
    assert native.tokenize("a</s>b", SPECIAL) == [*trained(True).encode("a"), 2, *trained(True).encode("b")]


def test_user_defined_tokens_are_found_first_and_end_a_turn() -> None:
    given = values()
    tokens, types = given["tokenizer.ggml.tokens"], given["tokenizer.ggml.token_type"].copy()
    tokens[-1], types[-1] = "<end_of_turn>", CONTROL
    tokens[-2], types[-2] = "the cat", USER_DEFINED
    files = read(given | {"tokenizer.ggml.token_type": types})
    assert files.stop_token_ids == (2, len(tokens) - 1)
    assert len(tokens) - 2 in opened(files).tokenize("a the cat")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scores": None}, "scores is not a number for each of 520 tokens"),
        ({"scores": np.zeros(3)}, "scores is not a number for each of 520 tokens"),
        ({"scores": np.full(520, np.nan)}, "scores holds what is no number"),
        ({"tokens": ["a"] * 520}, "tokens 0 and 1 are both 'a'"),
        ({"add_space_prefix": 3}, "expected true or false"),
        ({"unknown_token_id": 520}, "unknown_token_id is 520, but there are 520 tokens"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises((TokenizerError, ConfigError), match=complaint):
        read(values(**changes))


def test_a_piece_with_a_character_that_is_none_is_refused() -> None:
    given = values()
    tokens = given["tokenizer.ggml.tokens"]
    tokens[tokens.index("\u2581the")] = "a漢"
    with pytest.raises(
        TokenizerError, match="the token 'a漢' has the character '漢', which is no token by itself"
    ):
        read(given)


def test_ranks_of_another_number_than_merges_are_refused() -> None:
    tree = json.loads(read(values()).tokenizer_json)
    tree["model"]["merge_ranks"].pop()
    with pytest.raises(TokenizerError, match="merge_ranks has to hold one integer for each merge"):
        build_text_table(json.dumps(tree).encode(), None, None, [])
