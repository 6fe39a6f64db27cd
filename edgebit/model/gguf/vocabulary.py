"""The vocabulary inside a GGUF file as the tokenizer.json that its model had before it was converted.

Byte-level BPE ("gpt2" in tokenizer.ggml.model) and SentencePiece ("llama": sentencepiece.py). What a
conversion loses is supplied: the splits from tokenizer.ggml.pre, as llama.cpp reads that name; the
normalization of Qwen2; a name for the end of a turn. Which tokens are special the file says by their types,
but not every converter wrote types: what looks like ``<|this|>`` and no merge makes is special too.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebit.errors import CheckpointWarning, TokenizerError
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.sentencepiece import read_pieces, spaced_decoder, spaced_normalizer
from edgebit.model.gguf.tokenizer_json import bpe, tokenizer_tree
from edgebit.model.tokenizer import TOKENIZER_FILE, TokenizerFiles, check_range

_WAY_OUT = f"put the model's {TOKENIZER_FILE} beside the file"
_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5
_LOOKS_SPECIAL = re.compile(r"<\|[^|]+\|>")
_ENDS_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>")


def _byte_level(use_regex: bool) -> dict[str, Any]:
    settings = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "ByteLevel", **settings}


def _pattern(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@dataclass(frozen=True)
class _Split:
    """``parts`` cut text into words; a word that is a token is that token if ``ignore_merges``."""

    parts: Sequence[Mapping[str, Any]]
    ignore_merges: bool = False
    nfc: bool = False
    adds_bos: bool = False


_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _Split(
    (_pattern(_MODERN.replace("DIGITS", r"\p{N}{1,3}")), _byte_level(False)),
    ignore_merges=True,
    adds_bos=True,
)
_GPT2 = _Split((_byte_level(True),))
_QWEN2 = _Split((_pattern(_MODERN.replace("DIGITS", r"\p{N}")), _byte_level(False)), nfc=True)
_FALCON = _Split(
    (
        {"type": "Punctuation", "behavior": "Contiguous"},
        _byte_level(True),
        {"type": "Digits", "individual_digits": False},
        _pattern("[0-9][0-9][0-9]"),
    )
)
_STARCODER = _Split(({"type": "Digits", "individual_digits": True}, _byte_level(True)))
_SPLITS: Mapping[str, _Split] = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "falcon_e"), _LLAMA3),
    **dict.fromkeys(("gpt-2", "phi-2"), _GPT2),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _QWEN2),
    "falcon": _FALCON,
    **dict.fromkeys(("starcoder", "smollm"), _STARCODER),
}
# Microsoft's converter left tokenizer.ggml.pre out, and wrote a template of another model.
_BITNET_ARCHITECTURES = ("bitnet-b1.58", "bitnet-25")
_WRONG_TEMPLATE = "BITNETAssistant"
BITNET_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)


def read_vocabulary(path: Path, metadata: Metadata, vocab_size: int) -> TokenizerFiles:
    """Raises TokenizerError naming the key, what it holds and the way out; ConfigError for a key's type."""
    kind = metadata.text("tokenizer.ggml.model", "none")
    if kind not in _KINDS:
        raise TokenizerError(
            f"{path}: tokenizer.ggml.model is {'absent' if kind == 'none' else kind}, "
            f"expected gpt2 (byte-level BPE) or llama (SentencePiece); {_WAY_OUT}"
        )
    reader = _KINDS[kind](path, metadata)
    tokenizer = reader.tokenizer_files()
    if len(reader.tokens) > vocab_size:
        raise reader.error(f"{len(reader.tokens)} tokens, but the model's vocabulary has {vocab_size}")
    check_range(tokenizer, vocab_size)
    return tokenizer


class _Vocabulary(ABC):
    """What the kinds have in common; ``merges`` in order, ``adds_bos`` where the file does not say it."""

    adds_bos: bool
    merges: Sequence[tuple[str, str]]

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.path = path
        self.metadata = metadata
        self.architecture = metadata.text("general.architecture")
        self.tokens = metadata.texts("tokenizer.ggml.tokens")
        self.types = self.token_types()

    def tokenizer_files(self) -> TokenizerFiles:
        bos, eos = self.token("bos"), self.token("eos")
        adds_bos = self.metadata.flag("tokenizer.ggml.add_bos_token", self.adds_bos)
        prepended = bos if adds_bos else None
        appended = eos if self.metadata.flag("tokenizer.ggml.add_eos_token", False) else None
        special = self.special()
        stops = {token for token in (eos, self.token("eot")) if token is not None}
        stops |= {token for token, text in special.items() if text in _ENDS_OF_TURN}
        template = self.chat_template()
        settings = {
            "bos_token": None if bos is None else self.tokens[bos],
            "eos_token": None if eos is None else self.tokens[eos],
            "add_bos_token": prepended is not None,
            **({"add_eos_token": True} if appended is not None else {}),
            "chat_template": template,
        }
        tree = self.tokenizer_json(special, prepended)
        files = {
            TOKENIZER_FILE: json.dumps(tree, ensure_ascii=False, indent=1).encode(),
            "tokenizer_config.json": json.dumps(settings, ensure_ascii=False, indent=1).encode(),
        }
        return TokenizerFiles(self.path, files, prepended, tuple(sorted(stops)), template, appended)

    def token_types(self) -> list[int]:
        types = self.metadata.values.get("tokenizer.ggml.token_type")
        if types is None:
            return [1] * len(self.tokens)
        if isinstance(types, str | int | float | list) or len(types) != len(self.tokens):
            raise self.error(
                f"tokenizer.ggml.token_type is not a number for each of {len(self.tokens)} tokens"
            )
        return [int(kind) for kind in types]

    def token(self, name: str) -> int | None:
        key = f"tokenizer.ggml.{name}_token_id"
        if key not in self.metadata:
            return None
        token = self.metadata.integer(key)
        if not 0 <= token < len(self.tokens):
            raise self.error(f"{key} is {token}, but there are {len(self.tokens)} tokens")
        return token

    def special(self) -> dict[int, str]:
        named = {self.token(name) for name in ("bos", "eos", "eot", "padding", "unknown")}
        made = {left + right for left, right in self.merges}
        return {
            token: text
            for token, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if kind in (_CONTROL, _UNKNOWN)
            or (kind != _UNUSED and token in named)
            or (kind not in (_USER_DEFINED, _UNUSED) and text not in made and _LOOKS_SPECIAL.fullmatch(text))
        }

    @abstractmethod
    def tokenizer_json(self, special: Mapping[int, str], bos: int | None) -> dict[str, Any]:
        """``special``: texts of special tokens by id; ``bos``: what is put in front of a text."""

    def added_tokens(self, special: Mapping[int, str]) -> list[dict[str, Any]]:
        return [
            _added_token(token, text, token in special)
            for token, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if token in special or kind == _USER_DEFINED
        ]

    def chat_template(self) -> str | None:
        if "tokenizer.chat_template" not in self.metadata:
            return BITNET_TEMPLATE if self.architecture in _BITNET_ARCHITECTURES else None
        template = self.metadata.text("tokenizer.chat_template")
        if self.architecture in _BITNET_ARCHITECTURES and _WRONG_TEMPLATE in template:
            warnings.warn(
                f"{self.path}: its chat template is not that of the model it holds ({_WRONG_TEMPLATE} …); "
                "the one of microsoft/bitnet-b1.58-2B-4T is used",
                CheckpointWarning,
                stacklevel=3,
            )
            return BITNET_TEMPLATE
        return template

    def error(self, message: str) -> TokenizerError:
        return TokenizerError(f"{self.path}: {message}; {_WAY_OUT}")


class _ByteLevel(_Vocabulary):
    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.architecture = metadata.text("general.architecture")
        self.path = path
        self.metadata = metadata
        self.split = self.find_split()
        super().__init__(path, metadata)
        self.adds_bos = self.split.adds_bos
        self.merges = [self.merge(text) for text in metadata.texts("tokenizer.ggml.merges")]

    def find_split(self) -> _Split:
        missing = "llama-bpe" if self.architecture in _BITNET_ARCHITECTURES else "missing"
        name = self.metadata.text("tokenizer.ggml.pre", missing)
        if name not in _SPLITS:
            raise self.error(f"tokenizer.ggml.pre is {name}, expected one of {', '.join(_SPLITS)}")
        return _SPLITS[name]

    def merge(self, text: str) -> tuple[str, str]:
        left, space, right = text.partition(" ")
        if not (left and space and right) or " " in right:
            raise self.error(f"the merge {text!r} is not two words")
        return left, right

    def words(self, special: Mapping[int, str]) -> dict[str, int]:
        """Tokens that text becomes."""
        words: dict[str, int] = {}
        for token, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True)):
            if token in special or kind in (_USER_DEFINED, _UNUSED):
                continue
            if text in words:
                raise self.error(f"tokens {words[text]} and {token} are both {text!r}")
            words[text] = token
        return words

    def tokenizer_json(self, special: Mapping[int, str], bos: int | None) -> dict[str, Any]:
        byte_level = _byte_level(False)
        return tokenizer_tree(
            added_tokens=self.added_tokens(special),
            normalizer={"type": "NFC"} if self.split.nfc else None,
            pre_tokenizer={"type": "Sequence", "pretokenizers": list(self.split.parts)},
            post_processor=byte_level if bos is None else _prepending(bos, self.tokens[bos]),
            decoder=byte_level,
            model=bpe(self.words(special), self.merges, ignore_merges=self.split.ignore_merges),
        )


class _SentencePiece(_Vocabulary):
    adds_bos = True

    def __init__(self, path: Path, metadata: Metadata) -> None:
        super().__init__(path, metadata)
        self.vocabulary = read_pieces(self.tokens, self.types, self.scores(), self.error)
        self.merges = self.vocabulary.merges

    def scores(self) -> Sequence[float]:
        scores = self.metadata.values.get("tokenizer.ggml.scores")
        if scores is None or isinstance(scores, str | int | float) or len(scores) != len(self.tokens):
            raise self.error(f"tokenizer.ggml.scores is not a number for each of {len(self.tokens)} tokens")
        if any(isinstance(score, str) or not math.isfinite(score) for score in scores):
            raise self.error("tokenizer.ggml.scores holds what is no number")
        return [float(score) for score in scores]

    def tokenizer_json(self, special: Mapping[int, str], bos: int | None) -> dict[str, Any]:
        prefixed = self.metadata.flag("tokenizer.ggml.add_space_prefix", True)
        unknown = self.token("unknown")
        if unknown is None and _UNKNOWN in self.types:
            unknown = self.types.index(_UNKNOWN)
        return tokenizer_tree(
            added_tokens=self.added_tokens(special),
            normalizer=spaced_normalizer(prefixed),
            pre_tokenizer=None,
            post_processor=None if bos is None else _prepending(bos, self.tokens[bos]),
            decoder=spaced_decoder(prefixed),
            model=self.vocabulary.model(None if unknown is None else self.tokens[unknown]),
        )


_KINDS: Mapping[str, type[_Vocabulary]] = {"gpt2": _ByteLevel, "llama": _SentencePiece}


def _added_token(token: int, text: str, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": text, **flags, "special": special}


def _prepending(token: int, text: str) -> dict[str, Any]:
    bos = {"SpecialToken": {"id": text, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, second],
        "special_tokens": {text: {"id": text, "ids": [token], "tokens": [text]}},
    }
