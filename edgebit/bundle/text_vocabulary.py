"""The model of a tokenizer.json: its tokens and how text becomes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgebit.bundle.text_steps import SPACE_SIGN, TextSteps, refuse
from edgebit.errors import TokenizerError

_LARGEST_ID = 1 << 22
UNKNOWN_PENALTY = 10.0  # of the library, below the worst score
_BYTE_NAMES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_BYTE_NAME = re.compile(rb"<0x[0-9A-Fa-f]{2}>")


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
_BYTE_LEVEL = re.compile("[" + re.escape("".join(BYTE_OF)) + "]*")
_LATIN1_OF = str.maketrans({char: chr(byte) for char, byte in BYTE_OF.items()})


@dataclass(frozen=True)
class Vocabulary:
    """``texts`` maps ids to bytes, holes left out; ``words`` are the ids that a whole word may be, where one
    is looked up (``ignore_merges``); ``merges`` are (left, right, result) ids by rank.

    Merging begins with bytes, or with ``characters`` (ids of tokens of one). A character without a token
    becomes ``byte_tokens`` if ``byte_fallback``, else ``unknown`` (None: nothing). A unigram model has
    ``scores`` by id (log probabilities) instead of merges, and ``unknown_score``. ``merge_ranks``: of each
    merge, where some are equal (the leftmost is then first); empty: their order.
    """

    texts: Mapping[int, bytes]
    words: Sequence[int]
    byte_tokens: Sequence[int]
    byte_fallback: bool
    characters: Sequence[int]
    unknown: int | None
    fuse_unknown: bool
    ignore_merges: bool
    merges: Sequence[tuple[int, int, int]]
    merge_ranks: Sequence[int]
    scores: Mapping[int, float]
    unknown_score: float

    @property
    def is_unigram(self) -> bool:
        return bool(self.scores)

    @property
    def looked_up(self) -> frozenset[int]:
        """Tokens that are found by their text."""
        return frozenset((*self.words, *self.characters, *self.scores))

    @property
    def reachable(self) -> set[int]:
        """Tokens that ordinary text can become, but for whole words and what is unknown."""
        first = self.characters if self.characters else self.byte_tokens
        return {*first, *(result for _, _, result in self.merges), *self.scores}


def read_vocabulary(model: Mapping[str, Any], steps: TextSteps, special: frozenset[str]) -> Vocabulary:
    """``special``: texts that stand for special tokens. Raises TokenizerError."""
    kind = model.get("type", "BPE" if "merges" in model else "unknown")
    if kind == "Unigram" and not steps.byte_level:
        return _unigram(model, special)
    if kind != "BPE":
        raise refuse(f"model type {kind} is not supported")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise refuse(f"BPE with {setting}={model[setting]!r} is not supported")
    _check_ids(model["vocab"])
    return _byte_level(model) if steps.byte_level else _spaced_bpe(model, special)


def byte_level_text(text: str) -> bytes:
    """The bytes that a byte-level entry spells; one with characters outside the alphabet is its own text."""
    return text.translate(_LATIN1_OF).encode("latin-1") if is_byte_level(text) else text.encode()


def spaced(text: str) -> bytes:
    """A spaced entry, with the spaces it stands for."""
    return text.replace(SPACE_SIGN, " ").encode()


def is_byte_level(text: str) -> bool:
    return _BYTE_LEVEL.fullmatch(text) is not None


def names_a_byte(text: bytes) -> bool:
    """Whether decoding may read a token as a byte: "<0x41>"."""
    return _BYTE_NAME.fullmatch(text) is not None


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


def _merge(pair: str | Sequence[str], vocab: Mapping[str, int]) -> tuple[int, int, int]:
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return vocab[left], vocab[right], vocab[left + right]


def _byte_level(model: Mapping[str, Any]) -> Vocabulary:
    if model.get("byte_fallback"):
        raise refuse("byte-level BPE with byte_fallback=True is not supported")
    vocab: dict[str, int] = model["vocab"]
    missing = [f"0x{byte:02x}" for char, byte in BYTE_OF.items() if char not in vocab]
    if missing:
        raise refuse(
            f"the vocabulary lacks {len(missing)} of the 256 byte tokens ({', '.join(missing[:4])}, …); "
            "train it with initial_alphabet=ByteLevel.alphabet()"
        )
    ignore_merges = bool(model.get("ignore_merges"))
    return Vocabulary(
        texts={token: byte_level_text(text) for text, token in vocab.items()},
        words=sorted(token for text, token in vocab.items() if is_byte_level(text)) if ignore_merges else (),
        byte_tokens=[vocab[char] for char, _ in sorted(BYTE_OF.items(), key=lambda item: item[1])],
        byte_fallback=False,
        characters=(),
        unknown=None,
        fuse_unknown=False,
        ignore_merges=ignore_merges,
        merges=[_merge(pair, vocab) for pair in model["merges"]],
        merge_ranks=(),
        scores={},
        unknown_score=0.0,
    )


def _spaced_bpe(model: Mapping[str, Any], special: frozenset[str]) -> Vocabulary:
    """Special tokens are no words: the library finds them as such even where it was told that the text of
    one is ordinary text."""
    vocab: dict[str, int] = model["vocab"]
    unknown = model.get("unk_token")
    if unknown is not None and unknown not in vocab:
        raise TokenizerError(f"tokenizer.json: the unknown token {unknown!r} is not in the vocabulary")
    # A text with a space is nothing that text becomes: spaces are U+2581 by then.
    within_reach = {text: token for text, token in vocab.items() if " " not in text}
    ignore_merges = bool(model.get("ignore_merges"))
    fallback = bool(model.get("byte_fallback"))
    return Vocabulary(
        texts={token: spaced(text) for text, token in vocab.items()},
        words=sorted(within_reach[text] for text in within_reach.keys() - special) if ignore_merges else (),
        byte_tokens=_byte_tokens(vocab) if fallback else (),
        byte_fallback=fallback,
        characters=sorted(token for text, token in within_reach.items() if len(text) == 1),
        unknown=None if unknown is None else vocab[unknown],
        fuse_unknown=bool(model.get("fuse_unk")),
        ignore_merges=ignore_merges,
        merges=[_merge(pair, vocab) for pair in model["merges"]],
        merge_ranks=_merge_ranks(model),
        scores={},
        unknown_score=0.0,
    )


def _merge_ranks(model: Mapping[str, Any]) -> Sequence[int]:
    """Our own entry, of the reader of GGUF vocabularies."""
    ranks = model.get("merge_ranks") or []
    if ranks and (len(ranks) != len(model["merges"]) or not all(type(rank) is int for rank in ranks)):
        raise TokenizerError("tokenizer.json: merge_ranks has to hold one integer for each merge")
    return list(ranks)


def _byte_tokens(vocab: Mapping[str, int]) -> Sequence[int]:
    missing = [name for name in _BYTE_NAMES if name not in vocab]
    if missing:
        raise refuse(
            f"byte_fallback with {len(missing)} of the 256 byte tokens missing ({', '.join(missing[:4])}, …)"
        )
    return [vocab[name] for name in _BYTE_NAMES]


def _unigram(model: Mapping[str, Any], special: frozenset[str]) -> Vocabulary:
    """Special tokens are no pieces, for the same reason."""
    pieces = list(model["vocab"])
    vocab = {text: token for token, (text, _) in enumerate(pieces)}  # of two alike the last, as there
    unknown = model.get("unk_id")
    if unknown is None:
        raise refuse("a unigram model without an unknown token is not supported")
    fallback = bool(model.get("byte_fallback"))
    return Vocabulary(
        texts={token: spaced(text) for token, (text, _) in enumerate(pieces)},
        words=(),
        byte_tokens=_byte_tokens(vocab) if fallback else (),
        byte_fallback=fallback,
        characters=(),
        unknown=unknown,
        fuse_unknown=True,
        ignore_merges=False,
        merges=(),
        merge_ranks=(),
        scores={
            token: float(pieces[token][1])
            for text, token in vocab.items()
            if text and " " not in text and text not in special
        },
        unknown_score=min(float(score) for _, score in pieces) - UNKNOWN_PENALTY,
    )


_SPACE_INSIDE = re.compile(b"[^ ] ")


def splits_before_spaces(vocabulary: Vocabulary) -> bool:
    """Whether no token that merges make has a space behind another character. Then nothing is ever merged
    over the beginning of a run of spaces, and text may be cut there: words stay short."""
    has_space = any(vocabulary.texts[token] == b" " for token in vocabulary.characters)
    return (
        bool(vocabulary.characters)
        and not vocabulary.ignore_merges
        and (has_space or vocabulary.byte_fallback or not vocabulary.fuse_unknown)
        and not any(_SPACE_INSIDE.search(vocabulary.texts[result]) for _, _, result in vocabulary.merges)
    )
