"""What a tokenizer.json does to text before its model sees it, and to tokens when they become text again.

Two kinds are known. *Byte-level* (GPT-2): words are cut by a pattern, then spelled in bytes. *Spaced*
(SentencePiece): a space is written as U+2581, a space may be put in front. Spaced text is kept here, and in
tokenizer.bin, with the space it stands for: no space is left beside it, so that nothing is mixed up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tokenizers import Tokenizer

from edgebit.errors import TokenizerError

SPACE_SIGN = "\u2581"


class Split(IntEnum):
    """How a stage cuts its piece of text (native/split.c). Stages that come after ByteLevel read bytes."""

    GPT2 = 1
    LLAMA3 = 2
    QWEN2 = 3
    PUNCTUATION = 4  # runs of it and of the rest
    PUNCTUATION_ALONE = 5  # each character of it
    DIGITS = 6
    DIGITS_ALONE = 7
    BYTE_DIGITS = 8
    BYTE_DIGITS_ALONE = 9
    THREE_DIGITS = 10
    BEFORE_SPACE = 11
    BEFORE_SPACES = 12  # before a run of spaces


class Spaces(IntEnum):
    """Where U+2581 takes the place of spaces."""

    KEPT = 0
    NORMALIZER = 1  # before added tokens are searched in the normalized text
    METASPACE = 2  # after that


class Prefix(IntEnum):
    """When a space is put in front of text."""

    NEVER = 0
    NORMALIZER = 1  # of every piece between raw added tokens
    FIRST = 2  # of what the input begins with, unless it begins with one
    ALWAYS = 3  # of every piece between added tokens, unless it begins with one


class FirstSpace(IntEnum):
    """What decoding takes away at the beginning of a text."""

    KEPT = 0
    ONE = 1  # one space
    TOKEN = 2  # all spaces of the first token


@dataclass(frozen=True)
class TextSteps:
    """``byte_tokens``: "<0x41>" becomes the byte when decoded."""

    byte_level: bool
    nfc: bool
    spaces: Spaces
    prefix: Prefix
    stages: tuple[Split, ...]
    first_space: FirstSpace
    byte_tokens: bool


_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT_PATTERNS: Mapping[str, Split] = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": Split.GPT2,
    _MODERN.replace("DIGITS", r"\p{N}{1,3}"): Split.LLAMA3,
    _MODERN.replace("DIGITS", r"\p{N}"): Split.QWEN2,
    r"[0-9][0-9][0-9]": Split.THREE_DIGITS,
    r"[0-9]{3}": Split.THREE_DIGITS,
}
MOST_STAGES = 4
_REPLACE = ("Replace", " ", SPACE_SIGN)


def refuse(what: str) -> TokenizerError:
    return TokenizerError(
        f"tokenizer.json: {what}; edgebit has byte-level BPE behind the GPT-2, Llama-3, Qwen2 and Falcon "
        "patterns, and BPE and unigram models of SentencePiece"
    )


def read_steps(library: Tokenizer) -> TextSteps:
    """Raises TokenizerError naming what the native tokenizer cannot do."""
    normalizer = _parts(library.normalizer, "normalizers")
    splitters = _parts(library.pre_tokenizer, "pretokenizers")
    decoder = _parts(library.decoder, "decoders")
    if any(part["type"] == "ByteLevel" for part in splitters):
        return _byte_level(normalizer, splitters, decoder)
    return _spaced(normalizer, splitters, decoder)


def _parts(component: Any, key: str) -> Sequence[Mapping[str, Any]]:
    """The steps of a component, sequences in it taken apart, every setting written out by the library."""
    if component is None:
        return []
    flat: list[Mapping[str, Any]] = []
    waiting = [json.loads(component.__getstate__())]
    while waiting:
        part = waiting.pop(0)
        if part["type"] == "Sequence":
            waiting = [*part[key], *waiting]
        else:
            flat.append(part)
    return flat


def _kinds(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [part["type"] for part in parts]


def _named(kinds: Sequence[str]) -> str:
    return " + ".join(kinds) or "none"


def _byte_level(
    normalizer: Sequence[Mapping[str, Any]],
    splitters: Sequence[Mapping[str, Any]],
    decoder: Sequence[Mapping[str, Any]],
) -> TextSteps:
    if set(_kinds(normalizer)) - {"NFC"}:
        raise refuse(f"normalizer {_named(_kinds(normalizer))} is not supported (only NFC or none)")
    if _kinds(decoder) != ["ByteLevel"]:
        raise refuse(f"the decoder is {_named(_kinds(decoder))}, expected ByteLevel")
    stages: list[Split] = []
    in_bytes = False
    for part in splitters:
        if part["type"] == "ByteLevel":
            if in_bytes:
                raise refuse("ByteLevel twice is not supported")
            if part["add_prefix_space"]:
                raise refuse("ByteLevel with add_prefix_space is not supported")
            stages += [Split.GPT2] * part["use_regex"]
            in_bytes = True
        else:
            stages.append(_stage(part, in_bytes))
    if not stages:
        raise refuse("ByteLevel without a split pattern is not supported")
    if len(stages) > MOST_STAGES:
        raise refuse(
            f"pre-tokenizer {_named(_kinds(splitters))} has {len(stages)} steps, at most {MOST_STAGES} are "
            "supported"
        )
    return TextSteps(
        byte_level=True,
        nfc=bool(normalizer),
        spaces=Spaces.KEPT,
        prefix=Prefix.NEVER,
        stages=tuple(stages),
        first_space=FirstSpace.KEPT,
        byte_tokens=False,
    )


def _stage(part: Mapping[str, Any], in_bytes: bool) -> Split:
    kind = part["type"]
    if kind == "Punctuation" and not in_bytes:
        behaviors = {"Contiguous": Split.PUNCTUATION, "Isolated": Split.PUNCTUATION_ALONE}
        if part["behavior"] not in behaviors:
            raise refuse(f"Punctuation with behavior {part['behavior']} is not supported")
        return behaviors[part["behavior"]]
    if kind == "Digits":
        alone = part["individual_digits"]
        if in_bytes:
            return Split.BYTE_DIGITS_ALONE if alone else Split.BYTE_DIGITS
        return Split.DIGITS_ALONE if alone else Split.DIGITS
    if kind != "Split":
        raise refuse(f"pre-tokenizer {kind}{' behind ByteLevel' * in_bytes} is not supported")
    pattern = part["pattern"].get("Regex", "")
    if part["behavior"] != "Isolated" or part["invert"]:
        raise refuse(f"Split with behavior {part['behavior']}, invert {part['invert']} is not supported")
    if pattern not in SPLIT_PATTERNS:
        raise refuse(f"unknown split pattern {pattern or part['pattern']!r}")
    stage = SPLIT_PATTERNS[pattern]
    if in_bytes and stage != Split.THREE_DIGITS:
        raise refuse(f"the split pattern {pattern!r} behind ByteLevel is not supported")
    return stage


def _spaced(
    normalizer: Sequence[Mapping[str, Any]],
    splitters: Sequence[Mapping[str, Any]],
    decoder: Sequence[Mapping[str, Any]],
) -> TextSteps:
    spaces, prefix, nfc = _spaced_normalizer(normalizer)
    stages: tuple[Split, ...] = ()
    if _kinds(splitters) == ["Metaspace"]:
        if prefix != Prefix.NEVER:
            raise refuse("both a Prepend normalizer and Metaspace are not supported")
        prefix, stages = _metaspace(splitters[0])
        spaces = spaces or Spaces.METASPACE
    elif splitters and not (spaces and _splits_at_no_space(splitters)):
        raise refuse(f"pre-tokenizer {_named(_kinds(splitters))} is not supported")
    if not spaces:
        raise refuse("without ByteLevel, spaces have to become U+2581 (Replace or Metaspace)")
    first_space, byte_tokens = _spaced_decoder(decoder)
    return TextSteps(
        byte_level=False,
        nfc=nfc,
        spaces=spaces,
        prefix=prefix,
        stages=stages,
        first_space=first_space,
        byte_tokens=byte_tokens,
    )


def _spaced_normalizer(parts: Sequence[Mapping[str, Any]]) -> tuple[Spaces, Prefix, bool]:
    spaces, prefix, nfc = Spaces.KEPT, Prefix.NEVER, False
    for part in parts:
        kind = part["type"]
        if kind == "Replace" and (kind, part["pattern"].get("String"), part["content"]) == _REPLACE:
            spaces = Spaces.NORMALIZER
        elif kind == "Prepend" and part["prepend"] in (SPACE_SIGN, " ") and prefix == Prefix.NEVER:
            if part["prepend"] == " " and spaces:
                raise refuse("a Prepend of a space behind the Replace of spaces is not supported")
            prefix = Prefix.NORMALIZER
        elif kind == "NFC":
            nfc = True
        elif kind == "Precompiled":
            raise refuse("normalizer Precompiled: its character map works on grapheme clusters")
        else:
            raise refuse(f"normalizer {_described(part)} is not supported")
    if prefix and not spaces:
        raise refuse("a Prepend normalizer without a Replace of spaces is not supported")
    return spaces, prefix, nfc


def _described(part: Mapping[str, Any]) -> str:
    settings = {key: value for key, value in part.items() if key != "type"}
    return f"{part['type']} {json.dumps(settings, ensure_ascii=False)}" if settings else str(part["type"])


def _metaspace(part: Mapping[str, Any]) -> tuple[Prefix, tuple[Split, ...]]:
    if part["replacement"] != SPACE_SIGN:
        raise refuse(f"Metaspace with replacement {part['replacement']!r} is not supported")
    scheme = {"first": Prefix.FIRST, "always": Prefix.ALWAYS, "never": Prefix.NEVER}[part["prepend_scheme"]]
    return scheme, (Split.BEFORE_SPACE,) if part["split"] else ()


def _splits_at_no_space(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Gemma splits at spaces, of which its normalizer leaves none."""
    return all(
        part["type"] == "Split" and part["pattern"] == {"String": " "} and not part["invert"]
        for part in parts
    )


def _spaced_decoder(parts: Sequence[Mapping[str, Any]]) -> tuple[FirstSpace, bool]:
    kinds = _kinds(parts)
    if kinds == ["Metaspace"]:
        kept = parts[0]["prepend_scheme"] == "never"
        return FirstSpace.KEPT if kept else FirstSpace.TOKEN, False
    replaces = kinds[:1] == ["Replace"] and (parts[0]["pattern"], parts[0]["content"]) == (
        {"String": SPACE_SIGN},
        " ",
    )
    rest = kinds[1:]
    byte_tokens = rest[:1] == ["ByteFallback"]
    rest = rest[byte_tokens:]
    if not replaces or rest not in ([], ["Fuse"], ["Fuse", "Strip"]):
        raise refuse(f"the decoder {_named(kinds)} is not supported")
    if "Strip" not in rest:
        return FirstSpace.KEPT, byte_tokens
    strip = (parts[-1]["content"], parts[-1]["start"], parts[-1]["stop"])
    if strip != (" ", 1, 0):
        raise refuse(f"a Strip of {strip[0]!r}, {strip[1]} and {strip[2]} times, is not supported")
    return FirstSpace.ONE, byte_tokens
