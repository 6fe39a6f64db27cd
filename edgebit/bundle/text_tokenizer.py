"""tokenizer.json read into the facts the native tokenizer needs; whatever it cannot reproduce exactly is
refused here.

The promise of the native tokenizer (edgebit/runtime/native/tokenizer.c) is to give the same ids as the
`tokenizers` library for every input, so an unknown setting is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from edgebit.bundle.text_steps import Spaces, Split, TextSteps, read_steps, refuse
from edgebit.bundle.text_vocabulary import (
    Vocabulary,
    byte_level_text,
    read_vocabulary,
    spaced,
    splits_before_spaces,
)
from edgebit.errors import TokenizerError
from edgebit.model.jsonfile import parse_json


@dataclass(frozen=True)
class AddedToken:
    """A token matched as a whole before splitting. ``normalized``: its ``pattern`` is searched after
    normalization. ``lstrip``, ``rstrip``: it takes the white space beside it too. ``single_word``: it is not
    found beside a character of a word."""

    id: int
    content: str
    pattern: bytes
    special: bool
    normalized: bool
    lstrip: bool
    rstrip: bool
    single_word: bool


@dataclass(frozen=True)
class TokenizerFacts:
    """``texts`` maps ids to their bytes, those of added tokens too; ``stages`` cut text into words."""

    steps: TextSteps
    stages: Sequence[Split]
    model: Vocabulary
    texts: Mapping[int, bytes]
    added: Sequence[AddedToken]

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return {token.content: token.id for token in self.added if token.special}


@lru_cache(maxsize=1)
def library_tokenizer(content: bytes) -> Tokenizer:
    """That of the tokenizers library, which takes half a second to make: compiling asks twice, nobody changes
    it. Raises a bare Exception.
    """
    return Tokenizer.from_str(content.decode("utf-8"))


def read_tokenizer_json(content: bytes) -> TokenizerFacts:
    """Raises TokenizerError naming what the native tokenizer cannot represent."""
    try:
        tree = parse_json(content, "tokenizer.json", TokenizerError)
        library = library_tokenizer(content)
    except TokenizerError:
        raise
    except Exception as reason:  # the library raises bare Exception
        raise TokenizerError(f"tokenizer.json cannot be read: {reason}") from None
    _check_post_processor(tree.get("post_processor"))
    steps = read_steps(library)
    added = [_added_token(entry, library, steps) for entry in tree.get("added_tokens") or ()]
    special = frozenset(token.content for token in added if token.special)
    model = read_vocabulary(tree["model"], steps, special)
    stages = (*steps.stages, *(Split.BEFORE_SPACES,) * (not steps.stages and splits_before_spaces(model)))
    looked_up = model.looked_up
    own = {token.id: _shown(token, library, steps) for token in added if token.id not in looked_up}
    facts = TokenizerFacts(steps, stages, model, {**model.texts, **own}, added)
    _check_special_tokens_stay_special(facts, tree["model"]["vocab"], library)
    _check_added_tokens(facts, tree["model"]["vocab"])
    return facts


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
        raise refuse(f"post-processor {processor['type']} is not supported")
    for item in processor["single"]:
        token = item.get("SpecialToken", {}).get("id")
        if token is not None and token not in (processor.get("special_tokens") or {}):
            raise TokenizerError(f"tokenizer.json: the post-processor writes {token!r} and says no id of it")
    shape = ["special" if "SpecialToken" in item else "text" for item in processor["single"]]
    if shape not in (["text"], ["special", "text"], ["text", "special"], ["special", "text", "special"]):
        raise refuse(
            f"the post-processor writes {' + '.join(shape)}, "
            "expected at most one token before the text and one behind"
        )


def _added_token(entry: Mapping[str, Any], library: Tokenizer, steps: TextSteps) -> AddedToken:
    content: str = entry["content"]
    if not content:
        raise TokenizerError("tokenizer.json: an added token is empty")
    normalized = bool(entry["normalized"])
    searched = content
    if normalized and library.normalizer is not None:
        searched = library.normalizer.normalize_str(content)
    in_spaced_text = normalized and steps.spaces == Spaces.NORMALIZER
    pattern = spaced(searched) if in_spaced_text else searched.encode()
    token = library.token_to_id(content)
    if token is None:
        raise TokenizerError(f"tokenizer.json: added token {content!r} has no id")
    return AddedToken(
        id=token,
        content=content,
        pattern=pattern,
        special=bool(entry["special"]),
        normalized=normalized,
        lstrip=bool(entry.get("lstrip")),
        rstrip=bool(entry.get("rstrip")),
        single_word=bool(entry.get("single_word")),
    )


def _shown(token: AddedToken, library: Tokenizer, steps: TextSteps) -> bytes:
    """As the library decodes it: newer versions give the normalized text of a token that is searched so."""
    return token.content.encode() if steps.byte_level else spaced(str(library.id_to_token(token.id)))


def _check_special_tokens_stay_special(facts: TokenizerFacts, vocab: Any, library: Tokenizer) -> None:
    """Ordinary text must never become a special token: a chat message could otherwise end its own turn."""
    special = {token: text for text, token in facts.special_tokens.items()}
    reachable = facts.model.reachable - {facts.model.unknown}
    if facts.model.ignore_merges and facts.steps.byte_level:
        for text, token in facts.special_tokens.items():
            if text in vocab and len(library.pre_tokenizer.pre_tokenize_str(text)) == 1:
                reachable.add(token)
    for token in sorted(reachable & special.keys()):
        raise TokenizerError(
            f"tokenizer.json: ordinary text can become the special token {special[token]!r}: it is a word "
            f"of the vocabulary too"
        )


def _check_added_tokens(facts: TokenizerFacts, vocab: Any) -> None:
    for content in (token.content for token in facts.added):
        if facts.steps.byte_level and content in vocab and byte_level_text(content) != content.encode():
            raise TokenizerError(f"tokenizer.json: added token {content!r} is also a word of other bytes")
    patterns = [token.pattern for token in facts.added]
    doubled = sorted({pattern for pattern in patterns if patterns.count(pattern) > 1})
    if doubled:
        raise TokenizerError(f"tokenizer.json: two added tokens have the text {doubled[0].decode()!r}")
