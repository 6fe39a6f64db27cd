"""tokenizer.json read into the facts the native tokenizer needs; whatever it cannot reproduce exactly is
refused here.

The native tokenizer (edgebit/runtime/native/tokenizer.c) is byte-level BPE behind one of three split
patterns. Its promise is to give the same ids as the `tokenizers` library for every input, so an unknown
setting is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tokenizers import Tokenizer

from edgebit.errors import TokenizerError
from edgebit.model.jsonfile import parse_json


class Split(IntEnum):
    """Split patterns of split.c."""

    GPT2 = 1
    LLAMA3 = 2
    QWEN2 = 3


_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT_PATTERNS: Mapping[str, Split] = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": Split.GPT2,
    _MODERN.replace("DIGITS", r"\p{N}{1,3}"): Split.LLAMA3,
    _MODERN.replace("DIGITS", r"\p{N}"): Split.QWEN2,
}


_LARGEST_ID = 1 << 22


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
_LATIN1_OF = str.maketrans({char: chr(byte) for char, byte in BYTE_OF.items()})


@dataclass(frozen=True)
class AddedToken:
    """A token matched as a whole before splitting. ``normalized``: its ``pattern`` is searched after
    normalization."""

    id: int
    content: str
    pattern: str
    special: bool
    normalized: bool


@dataclass(frozen=True)
class TokenizerFacts:
    """``vocabulary`` maps ids to raw bytes, holes left out; ``words`` are the ids ordinary text can become;
    ``merges`` are (left, right, result) ids by rank."""

    split: Split
    ignore_merges: bool
    nfc: bool
    vocabulary: Mapping[int, bytes]
    words: Sequence[int]
    byte_tokens: Sequence[int]
    merges: Sequence[tuple[int, int, int]]
    added: Sequence[AddedToken]

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return {token.content: token.id for token in self.added if token.special}


def read_tokenizer_json(content: bytes) -> TokenizerFacts:
    """Raises TokenizerError naming what the native tokenizer cannot represent."""
    try:
        tree = parse_json(content, "tokenizer.json", TokenizerError)
        library = Tokenizer.from_str(content.decode("utf-8"))
    except TokenizerError:
        raise
    except Exception as reason:  # the library raises bare Exception
        raise TokenizerError(f"tokenizer.json cannot be read: {reason}") from None
    model = tree["model"]
    _check_model(model)
    _check_decoder(tree.get("decoder"))
    _check_post_processor(tree.get("post_processor"))
    vocab: dict[str, int] = model["vocab"]
    _check_ids(vocab)
    merges = [_merge(pair, vocab) for pair in model["merges"]]
    added = [_added_token(entry, library) for entry in tree.get("added_tokens") or ()]
    facts = TokenizerFacts(
        split=_split(tree.get("pre_tokenizer")),
        ignore_merges=bool(model.get("ignore_merges")),
        nfc=_is_nfc(tree.get("normalizer")),
        vocabulary={token: _raw_bytes(text) for text, token in vocab.items()}
        | {token.id: token.content.encode() for token in added},
        words=sorted(token for text, token in vocab.items() if _is_byte_level(text)),
        byte_tokens=_byte_tokens(vocab),
        merges=merges,
        added=added,
    )
    _check_special_tokens_stay_special(facts, vocab, library)
    return facts


def _refuse(what: str) -> TokenizerError:
    return TokenizerError(
        f"tokenizer.json: {what}; edgebit has byte-level BPE with the GPT-2, Llama-3 or Qwen2 split pattern"
    )


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type", "BPE" if "merges" in model else "unknown")
    if kind != "BPE":
        raise _refuse(f"model type {kind} is not supported")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            raise _refuse(f"BPE with {setting}={model[setting]!r} is not supported")


def _check_ids(vocab: Mapping[str, int]) -> None:
    """Tables are as long as the largest id; the library takes two words with one id, and forgets one."""
    if max(vocab.values(), default=0) > _LARGEST_ID:
        raise TokenizerError(f"tokenizer.json: id {max(vocab.values())}, expected at most {_LARGEST_ID}")
    if len(set(vocab.values())) < len(vocab):
        first: dict[int, str] = {}
        for word, token in vocab.items():
            if first.setdefault(token, word) != word:
                raise TokenizerError(
                    f"tokenizer.json: {first[token]!r} and {word!r} both have the id {token}"
                )


def _check_decoder(decoder: Mapping[str, Any] | None) -> None:
    if decoder is None or decoder.get("type") != "ByteLevel":
        found = "none" if decoder is None else decoder.get("type")
        raise _refuse(f"the decoder is {found}, expected ByteLevel")


def _check_post_processor(processor: Mapping[str, Any] | None) -> None:
    """One special token in front and one behind at most. Which ones, if any, the caller knows:
    tokenizer_config.json may overrule it, and none is behind a text that is continued."""
    if processor is None or processor["type"] == "ByteLevel":
        return
    if processor["type"] == "Sequence":
        for part in processor["processors"]:
            _check_post_processor(part)
        return
    if processor["type"] != "TemplateProcessing":
        raise _refuse(f"post-processor {processor['type']} is not supported")
    for item in processor["single"]:
        token = item.get("SpecialToken", {}).get("id")
        if token is not None and token not in (processor.get("special_tokens") or {}):
            raise TokenizerError(f"tokenizer.json: the post-processor writes {token!r} and says no id of it")
    shape = ["special" if "SpecialToken" in item else "text" for item in processor["single"]]
    if shape not in (["text"], ["special", "text"], ["text", "special"], ["special", "text", "special"]):
        raise _refuse(
            f"the post-processor writes {' + '.join(shape)}, "
            "expected at most one token before the text and one behind"
        )


def _split(pre_tokenizer: Mapping[str, Any] | None) -> Split:
    parts = [] if pre_tokenizer is None else pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    kinds = [part["type"] for part in parts]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise _refuse(f"pre-tokenizer {' + '.join(kinds) or 'none'} is not supported")
    byte_level = parts[-1]
    if byte_level.get("add_prefix_space"):
        raise _refuse("ByteLevel with add_prefix_space is not supported")
    if kinds == ["ByteLevel"]:
        if not byte_level.get("use_regex", True):
            raise _refuse("ByteLevel without a split pattern is not supported")
        return Split.GPT2
    if byte_level.get("use_regex", True):
        raise _refuse("a Split followed by ByteLevel with its own pattern (use_regex) is not supported")
    return _split_pattern(parts[0])


def _split_pattern(part: Mapping[str, Any]) -> Split:
    pattern = part["pattern"].get("Regex", "")
    if part["behavior"] != "Isolated" or part.get("invert"):
        raise _refuse(f"Split with behavior {part['behavior']}, invert {part.get('invert')} is not supported")
    if pattern not in SPLIT_PATTERNS:
        raise _refuse(f"unknown split pattern {pattern or part['pattern']!r}")
    return SPLIT_PATTERNS[pattern]


def _is_nfc(normalizer: Mapping[str, Any] | None) -> bool:
    parts = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    kinds = {part["type"] for part in parts}
    if kinds - {"NFC"}:
        raise _refuse(f"normalizer {' + '.join(sorted(kinds))} is not supported (only NFC or none)")
    return bool(kinds)


def _merge(pair: str | Sequence[str], vocab: Mapping[str, int]) -> tuple[int, int, int]:
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return vocab[left], vocab[right], vocab[left + right]


def _raw_bytes(text: str) -> bytes:
    """Bytes of a vocabulary entry; one with characters outside the byte alphabet stands for its own text."""
    return text.translate(_LATIN1_OF).encode("latin-1") if _is_byte_level(text) else text.encode()


def _is_byte_level(text: str) -> bool:
    return set(text) <= BYTE_OF.keys()


def _byte_tokens(vocab: Mapping[str, int]) -> list[int]:
    missing = [f"0x{byte:02x}" for char, byte in BYTE_OF.items() if char not in vocab]
    if missing:
        raise _refuse(
            f"the vocabulary lacks {len(missing)} of the 256 byte tokens ({', '.join(missing[:4])}, …); "
            "train it with initial_alphabet=ByteLevel.alphabet()"
        )
    return [vocab[char] for char, _ in sorted(BYTE_OF.items(), key=lambda item: item[1])]


def _added_token(entry: Mapping[str, Any], library: Tokenizer) -> AddedToken:
    content: str = entry["content"]
    for flag in ("single_word", "lstrip", "rstrip"):
        if entry.get(flag):
            raise TokenizerError(
                f"tokenizer.json: added token {content!r} has {flag}, which edgebit cannot represent"
            )
    if not content:
        raise TokenizerError("tokenizer.json: an added token is empty")
    normalized = bool(entry["normalized"])
    pattern = content
    if normalized and library.normalizer is not None:
        pattern = library.normalizer.normalize_str(content)
    token = library.token_to_id(content)
    if token is None:
        raise TokenizerError(f"tokenizer.json: added token {content!r} has no id")
    return AddedToken(token, content, pattern, bool(entry["special"]), normalized)


def _check_special_tokens_stay_special(
    facts: TokenizerFacts, vocab: Mapping[str, int], library: Tokenizer
) -> None:
    """Ordinary text must never become a special token: a chat message could otherwise end its own turn."""
    special = {token: text for text, token in facts.special_tokens.items()}
    reachable = set(facts.byte_tokens) | {result for _, _, result in facts.merges}
    if facts.ignore_merges:
        for text in special.values():
            if text in vocab and len(library.pre_tokenizer.pre_tokenize_str(text)) == 1:
                reachable.add(vocab[text])
    for token in sorted(reachable & special.keys()):
        raise TokenizerError(
            f"tokenizer.json: ordinary text can become the special token {special[token]!r}: it is a word "
            f"of the vocabulary too"
        )
    for token_text in (token.content for token in facts.added):
        if token_text in vocab and _raw_bytes(token_text) != token_text.encode():
            raise TokenizerError(f"tokenizer.json: added token {token_text!r} is also a word of other bytes")
    patterns = [token.pattern for token in facts.added]
    doubled = sorted({pattern for pattern in patterns if patterns.count(pattern) > 1})
    if doubled:
        raise TokenizerError(f"tokenizer.json: two added tokens have the text {doubled[0]!r}")
