"""The vocabulary inside a GGUF file as the tokenizer.json that its model had before it was converted.

Byte-level BPE alone ("gpt2" in tokenizer.ggml.model). What a conversion loses is supplied: the split pattern
from tokenizer.ggml.pre, as llama.cpp reads that name; the normalization of Qwen2; a name for the end of a
turn. Which tokens are special the file says by their types, but not every converter wrote types: what looks
like ``<|this|>`` and no merge makes is special too.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebit.errors import CheckpointWarning, TokenizerError
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.tokenizer import TOKENIZER_FILE, TokenizerFiles, check_range

_WAY_OUT = f"put the model's {TOKENIZER_FILE} beside the file"
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
_LOOKS_SPECIAL = re.compile(r"<\|[^|]+\|>")
_ENDS_OF_TURN = ("<|eot_id|>", "<|im_end|>")


@dataclass(frozen=True)
class _Split:
    """``pattern`` cuts text into words; a word that is a token is that token if ``ignore_merges``."""

    pattern: str
    ignore_merges: bool = False
    nfc: bool = False
    adds_bos: bool = False


_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _Split(_MODERN.replace("DIGITS", r"\p{N}{1,3}"), ignore_merges=True, adds_bos=True)
_GPT2 = _Split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_QWEN2 = _Split(_MODERN.replace("DIGITS", r"\p{N}"), nfc=True)
_SPLITS: Mapping[str, _Split] = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _LLAMA3),
    "gpt-2": _GPT2,
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _QWEN2),
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
    reader = _Vocabulary(path, metadata)
    tokenizer = reader.tokenizer_files()
    if len(reader.tokens) > vocab_size:
        raise reader.error(f"{len(reader.tokens)} tokens, but the model's vocabulary has {vocab_size}")
    check_range(tokenizer, vocab_size)
    return tokenizer


class _Vocabulary:
    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.path = path
        self.metadata = metadata
        self.architecture = metadata.text("general.architecture")
        self.require_byte_level()
        self.split = self.find_split()
        self.tokens = metadata.texts("tokenizer.ggml.tokens")
        self.merges = [self.merge(text) for text in metadata.texts("tokenizer.ggml.merges")]
        self.types = self.token_types()

    def tokenizer_files(self) -> TokenizerFiles:
        bos, eos = self.token("bos"), self.token("eos")
        adds_bos = self.metadata.flag("tokenizer.ggml.add_bos_token", self.split.adds_bos)
        prepended = bos if adds_bos else None
        special = self.special()
        stops = {token for token in (eos, self.token("eot")) if token is not None}
        stops |= {token for token, text in special.items() if text in _ENDS_OF_TURN}
        template = self.chat_template()
        settings = {
            "bos_token": None if bos is None else self.tokens[bos],
            "eos_token": None if eos is None else self.tokens[eos],
            "add_bos_token": prepended is not None,
            "chat_template": template,
        }
        tree = self.tokenizer_json(special, prepended)
        files = {
            TOKENIZER_FILE: json.dumps(tree, ensure_ascii=False, indent=1).encode(),
            "tokenizer_config.json": json.dumps(settings, ensure_ascii=False, indent=1).encode(),
        }
        return TokenizerFiles(self.path, files, prepended, tuple(sorted(stops)), template)

    def require_byte_level(self) -> None:
        kind = self.metadata.text("tokenizer.ggml.model", "none")
        if kind != "gpt2":
            name = {"llama": "SentencePiece", "none": "absent"}.get(kind, "not read")
            raise self.error(f"tokenizer.ggml.model is {kind} ({name}), expected gpt2 (byte-level BPE)")

    def find_split(self) -> _Split:
        missing = "llama-bpe" if self.architecture in _BITNET_ARCHITECTURES else "missing"
        name = self.metadata.text("tokenizer.ggml.pre", missing)
        if name not in _SPLITS:
            raise self.error(f"tokenizer.ggml.pre is {name}, expected one of {', '.join(_SPLITS)}")
        return _SPLITS[name]

    def token_types(self) -> list[int]:
        types = self.metadata.values.get("tokenizer.ggml.token_type")
        if types is None:
            return [1] * len(self.tokens)
        if isinstance(types, str | int | float | list) or len(types) != len(self.tokens):
            raise self.error(
                f"tokenizer.ggml.token_type is not a number for each of {len(self.tokens)} tokens"
            )
        return [int(kind) for kind in types]

    def merge(self, text: str) -> tuple[str, str]:
        left, space, right = text.partition(" ")
        if not (left and space and right) or " " in right:
            raise self.error(f"the merge {text!r} is not two words")
        return left, right

    def token(self, name: str) -> int | None:
        key = f"tokenizer.ggml.{name}_token_id"
        if key not in self.metadata:
            return None
        token = self.metadata.integer(key)
        if not 0 <= token < len(self.tokens):
            raise self.error(f"{key} is {token}, but there are {len(self.tokens)} tokens")
        return token

    def special(self) -> dict[int, str]:
        named = {self.token(name) for name in ("bos", "eos", "eot", "padding")}
        made = {left + right for left, right in self.merges}
        return {
            token: text
            for token, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True))
            if kind == _CONTROL
            or (kind != _UNUSED and token in named)
            or (kind not in (_USER_DEFINED, _UNUSED) and text not in made and _LOOKS_SPECIAL.fullmatch(text))
        }

    def tokenizer_json(self, special: Mapping[int, str], bos: int | None) -> dict[str, Any]:
        words: dict[str, int] = {}
        added = []
        for token, (text, kind) in enumerate(zip(self.tokens, self.types, strict=True)):
            if token in special or kind == _USER_DEFINED:
                added.append(_added_token(token, text, token in special))
            elif kind != _UNUSED:
                if text in words:
                    raise self.error(f"tokens {words[text]} and {token} are both {text!r}")
                words[text] = token
        byte_level = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        }
        pattern = {"Regex": self.split.pattern}
        split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": {"type": "NFC"} if self.split.nfc else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": byte_level if bos is None else _prepending(bos, self.tokens[bos]),
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": self.split.ignore_merges,
                "vocab": words,
                "merges": [list(pair) for pair in self.merges],
            },
        }

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
