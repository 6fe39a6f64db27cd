"""The vocabulary inside a GGUF file gives the tokens of the tokenizer it was made from."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from edgebit.bundle.text import build_text_table
from edgebit.errors import CheckpointWarning, TokenizerError
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.vocabulary import BITNET_TEMPLATE, read_vocabulary
from edgebit.model.tokenizer import TokenizerFiles
from tests.builders import BOS, CHAT_TEMPLATE, END_OF_TEXT, END_OF_TURN, TINY, special_id, tokenizer_json
from tests.gguf_files import vocabulary
from tests.text.strings import random_string, random_word
from tests.text.tokenizers_for_tests import content, gpt2, llama3, plain_falcon, qwen2

PATH = Path("model.gguf")
WRONG_TEMPLATE = "{% for m in messages %}Human: {{ m['content'] }}\n\nBITNETAssistant: {% endfor %}"


def read(values: dict[str, Any], architecture: str = "llama", size: int = 10000) -> TokenizerFiles:
    given = {key: value for key, value in values.items() if value is not None}
    if "tokenizer.ggml.token_type" in given:
        given["tokenizer.ggml.token_type"] = np.array(given["tokenizer.ggml.token_type"])
    return read_vocabulary(PATH, Metadata(str(PATH), given | {"general.architecture": architecture}), size)


def tiny(**changes: Any) -> dict[str, Any]:
    values = vocabulary(json.dumps(tokenizer_json(TINY.vocab_size)).encode(), "llama-bpe", BOS, END_OF_TEXT)
    return values | {f"tokenizer.{key.replace('__', '.')}": value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("tokenizer", "pre", "bos", "eos"),
    [
        (llama3(), "llama-bpe", "<|begin_of_text|>", "<|eot_id|>"),
        (gpt2(), "gpt-2", None, "<|endoftext|>"),
        (qwen2(), "qwen2", None, "<|im_end|>"),
        (plain_falcon(), "falcon", None, "<|im_end|>"),
    ],
    ids=["llama3", "gpt2", "qwen2", "falcon"],
)
def test_fuzzed_strings_become_the_tokens_of_the_original(
    tokenizer: Tokenizer, pre: str, bos: str | None, eos: str
) -> None:
    files = read(vocabulary(content(tokenizer), pre, bos, eos))
    ours = Tokenizer.from_str(files.tokenizer_json.decode())
    source = random.Random(5)
    strings = [random_string(source) for _ in range(3000)] + [random_word(source) for _ in range(1000)]
    assert [e.ids for e in ours.encode_batch(strings)] == [e.ids for e in tokenizer.encode_batch(strings)]
    build_text_table(files.tokenizer_json, files.chat_template, files.bos_token_id, files.stop_token_ids, {})


def test_the_split_pattern_is_the_one_that_pre_names() -> None:
    source = random.Random(6)
    strings = [random_string(source) for _ in range(500)]
    values = vocabulary(content(llama3()), "llama-bpe", None, None)
    right = Tokenizer.from_str(read(values).tokenizer_json.decode())
    other = Tokenizer.from_str(read(values | {"tokenizer.ggml.pre": "qwen2"}).tokenizer_json.decode())
    assert [e.ids for e in right.encode_batch(strings, add_special_tokens=False)] == [
        e.ids for e in llama3().encode_batch(strings, add_special_tokens=False)
    ]
    assert sum(right.encode(text).ids != other.encode(text).ids for text in strings) > 5


def test_special_tokens_bos_and_stops_of_a_bitnet() -> None:
    files = read(tiny(), "bitnet-b1.58", TINY.vocab_size)
    assert files.bos_token_id == special_id(TINY.vocab_size, BOS)
    ends = (special_id(TINY.vocab_size, END_OF_TEXT), special_id(TINY.vocab_size, END_OF_TURN))
    assert files.stop_token_ids == ends
    assert read(tiny(ggml__add_bos_token=False), "bitnet-b1.58").bos_token_id is None
    settings = json.loads(files.files["tokenizer_config.json"])
    assert (settings["bos_token"], settings["eos_token"]) == (BOS, END_OF_TEXT)


def test_a_file_without_token_types_has_the_same_special_tokens() -> None:
    typed, untyped = read(tiny()), read(tiny(ggml__token_type=None))
    assert untyped.tokenizer_json == typed.tokenizer_json
    assert untyped.stop_token_ids == typed.stop_token_ids


def test_a_bitnet_of_microsoft_needs_no_pre_and_another_model_does() -> None:
    assert read(tiny(ggml__pre=None), "bitnet-b1.58").files == read(tiny(), "bitnet-b1.58").files
    with pytest.raises(TokenizerError, match=r"tokenizer\.ggml\.pre is missing.*beside the file"):
        read(tiny(ggml__pre=None), "bitnet")


@pytest.mark.parametrize("architecture", ["bitnet-b1.58", "bitnet-25"])
def test_the_wrong_template_of_the_official_file_is_replaced_and_told(architecture: str) -> None:
    assert BITNET_TEMPLATE == CHAT_TEMPLATE
    with pytest.warns(CheckpointWarning, match="its chat template is not that of the model"):
        assert read(tiny(chat_template=WRONG_TEMPLATE), architecture).chat_template == CHAT_TEMPLATE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tiny(chat_template="{{ 1 }}"), architecture).chat_template == "{{ 1 }}"
        assert read(tiny(chat_template=WRONG_TEMPLATE), "llama").chat_template == WRONG_TEMPLATE


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ggml__model": "t5"}, "is t5, expected gpt2 (byte-level BPE) or llama (SentencePiece)"),
        ({"ggml__model": None}, "is absent, expected gpt2"),
        ({"ggml__model": "llama"}, "tokenizer.ggml.scores is not a number for each of 320 tokens"),
        ({"ggml__pre": "tekken"}, "tokenizer.ggml.pre is tekken, expected one of llama-bpe"),
        ({"ggml__merges": ["a b c"]}, "the merge 'a b c' is not two words"),
        ({"ggml__merges": ["ab"]}, "the merge 'ab' is not two words"),
        ({"ggml__token_type": [1, 2]}, "is not a number for each of 320 tokens"),
        ({"ggml__eos_token_id": 320}, "eos_token_id is 320, but there are 320 tokens"),
        ({"ggml__tokens": ["a"] * 320}, "are both 'a'"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        read(tiny(**changes))
    assert complaint in str(caught.value)
    assert "put the model's tokenizer.json beside the file" in str(caught.value)
