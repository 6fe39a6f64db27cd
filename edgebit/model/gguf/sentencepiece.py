"""A SentencePiece vocabulary with scores ("llama" in tokenizer.ggml.model) as a BPE with merges.

SentencePiece and llama.cpp join the two neighbours whose text is the piece of the highest score, the leftmost
of equals. A merge is any way to cut a piece into two; its rank is that of the score, and equal ones have
equal ranks (``merge_ranks``, beside the merges: the `tokenizers` library ignores it and takes them in their
order, which gives other tokens where two ways to make one piece overlap, as in rows of one character).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgebit.errors import TokenizerError
from edgebit.model.gguf.tokenizer_json import bpe

SPACE_SIGN = "\u2581"
_NORMAL, _USER_DEFINED, _UNUSED, _BYTE = 1, 4, 5, 6


@dataclass(frozen=True)
class Pieces:
    """``merges`` by rank; ``ranks`` of the same length, equal where scores are."""

    ids: dict[str, int]
    merges: Sequence[tuple[str, str]]
    ranks: Sequence[int]
    has_bytes: bool

    def model(self, unknown: str | None) -> dict[str, Any]:
        """The model of a tokenizer.json."""
        settings = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": self.has_bytes}
        return {**bpe(self.ids, self.merges, **settings), "merge_ranks": list(self.ranks)}


def read_pieces(
    tokens: Sequence[str],
    types: Sequence[int],
    scores: Sequence[float],
    error: Callable[[str], TokenizerError],
) -> Pieces:
    """Raises what ``error`` makes of a sentence."""
    ids: dict[str, int] = {}
    for token, text in enumerate(tokens):
        if text in ids:
            raise error(f"tokens {ids[text]} and {token} are both {text!r}")
        ids[text] = token
    joined = {
        text: scores[token]
        for text, token in ids.items()
        if types[token] in (_NORMAL, _USER_DEFINED, _UNUSED)
    }
    _check_characters(joined, ids, types, error)
    ways = [
        (-score, ids[text[:cut]], ids[text[cut:]])
        for text, score in joined.items()
        for cut in range(1, len(text))
        if text[:cut] in joined and text[cut:] in joined
    ]
    ways.sort()
    rank_of = {score: rank for rank, score in enumerate(sorted({score for score, _, _ in ways}))}
    return Pieces(
        ids=ids,
        merges=[(tokens[left], tokens[right]) for _, left, right in ways],
        ranks=[rank_of[score] for score, _, _ in ways],
        has_bytes=_BYTE in types,
    )


def _check_characters(
    joined: dict[str, float],
    ids: dict[str, int],
    types: Sequence[int],
    error: Callable[[str], TokenizerError],
) -> None:
    """Pieces are joined by their text, merges by tokens: a character without a token could not be merged."""
    for text in joined:
        if len(text) > 1 and types[ids[text]] == _NORMAL:
            missing = next((character for character in text if character not in joined), None)
            if missing is not None:
                raise error(f"the token {text!r} has the character {missing!r}, which is no token by itself")


def spaced_normalizer(prefixed: bool) -> dict[str, Any]:
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_SIGN}
    prepend = {"type": "Prepend", "prepend": SPACE_SIGN}
    return {"type": "Sequence", "normalizers": [prepend, replace] if prefixed else [replace]}


def spaced_decoder(prefixed: bool) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE_SIGN}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return {"type": "Sequence", "decoders": [*steps, strip] if prefixed else steps}
