"""A byte-level BPE of exactly the wanted size in the form of Llama 3's, without a download.

It is trained on the sources of Python's standard library, which every machine that runs this has: another
Python version gives other merges, never another size or other special ids. What the text does not yield is
filled with pairs of the words it did.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from benchmarks.synthetic.architecture import SPECIAL_TOKENS
from edgebit.errors import TokenizerError

BOS, END_OF_TEXT, END_OF_TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
# Offsets from the first special token; the ids between them are reserved.
NAMED = {0: BOS, 1: END_OF_TEXT, 6: "<|start_header_id|>", 7: "<|end_header_id|>", 9: END_OF_TURN}
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# That of microsoft/bitnet-b1.58-2B-4T (SPEC 2).
CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
_NOT_TEXT = {"site-packages", "test", "tests", "idle_test"}  # absent from some installations
_TEXT_PER_TOKEN = 200  # bytes of text to train one token: more gives nothing but time
_SPACE = "Ġ"  # stands for a space in byte-level vocabularies


def special_tokens() -> list[str]:
    """The 256 special tokens of Llama 3 in the order of their ids."""
    reserved = iter(range(SPECIAL_TOKENS))
    return [
        NAMED[offset] if offset in NAMED else f"<|reserved_special_token_{next(reserved)}|>"
        for offset in range(SPECIAL_TOKENS)
    ]


def tokenizer_files(vocab_size: int) -> dict[str, bytes]:
    """The tokenizer of a vocabulary of ``vocab_size`` tokens, special ones included, as its files."""
    names = {"bos_token": BOS, "eos_token": END_OF_TURN}
    settings = names | {
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": int(1e30),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    first = vocab_size - SPECIAL_TOKENS
    stops = [first + offset for offset, name in NAMED.items() if name in (END_OF_TEXT, END_OF_TURN)]
    generation = {
        "bos_token_id": first,
        "do_sample": True,
        "eos_token_id": stops,
        "temperature": 0.6,
        "top_p": 0.9,
    }
    return {
        "tokenizer.json": json_bytes(_tokenizer(first)),
        "tokenizer_config.json": json_bytes(settings),
        "special_tokens_map.json": json_bytes(names),
        "generation_config.json": json_bytes(generation),
    }


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _tokenizer(size: int) -> dict[str, Any]:
    """tokenizer.json of ``size`` ordinary tokens and the special ones behind them."""
    tree: dict[str, Any] = json.loads(_trained(size).to_str())
    _fill(tree["model"]["vocab"], tree["model"]["merges"], size)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": size + i, "content": name} | flags for i, name in enumerate(special_tokens())]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    bos, text = {"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = [{"SpecialToken": {"id": BOS, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    template = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, *second],
        "special_tokens": {BOS: {"id": BOS, "ids": [size], "tokens": [BOS]}},
    }
    processor = {"type": "Sequence", "processors": [byte_level, template]}
    return tree | {"added_tokens": added, "post_processor": processor, "decoder": byte_level}


def _trained(size: int) -> Tokenizer:
    """A BPE of at most ``size`` tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_sources(size * _TEXT_PER_TOKEN), trainer)
    return tokenizer


def _sources(limit: int) -> Iterator[str]:
    """Files of the standard library in order of their path, about ``limit`` bytes of them."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = (path.relative_to(root) for path in root.rglob("*.py"))
    read = 0
    for path in sorted(path for path in paths if not _NOT_TEXT & set(path.parts)):
        if read >= limit:
            return
        text = (root / path).read_bytes()
        read += len(text)
        yield text.decode("utf-8", "replace")


def _fill(vocab: dict[str, int], merges: list[list[str]], size: int) -> None:
    """Append merges of a word and an ending until there are ``size`` tokens."""
    for word, ending in _pairs(list(vocab)):
        if len(vocab) == size:
            return
        if word + ending not in vocab:
            vocab[word + ending] = len(vocab)
            merges.append([word, ending])
    if len(vocab) != size:
        raise TokenizerError(
            f"{sysconfig.get_path('stdlib')}: its sources yield {len(vocab)} tokens, expected {size}; "
            "take a Python that has its standard library as files"
        )


def _pairs(tokens: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of frequent words and frequent endings."""
    letters = [token for token in tokens if token.isascii() and token.isalpha()]
    words = [token for token in tokens if token.startswith(_SPACE) and token[1:].isalpha()]
    return ((word, ending) for word in words for ending in letters[52:252])
