"""The text side of a bundle: tokenizer.bin from tokenizer.json and the chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgebit.bundle.chat_table import compile_chat_table
from edgebit.bundle.text_table import write_table
from edgebit.bundle.text_tokenizer import TokenizerFacts, read_tokenizer_json
from edgebit.errors import TokenizerError


def build_text_table(
    tokenizer_json: bytes,
    chat_template: str | None,
    bos_id: int | None,
    stop_ids: Sequence[int],
    special_tokens: Mapping[str, str] | None = None,
    eos_id: int | None = None,
) -> bytes:
    """Content of tokenizer.bin; the same arguments give the same bytes.

    ``bos_id`` is the token put in front of every prompt, ``eos_id`` the one put behind a text that is
    embedded (None: none). ``special_tokens`` are the names a chat
    template may print, ``{"eos_token": "<|eot_id|>"}``; bos_token follows from ``bos_id`` and eos_token from
    ``stop_ids`` when there is only one. Raises TokenizerError or ChatTemplateError with the reason where
    something cannot be represented.
    """
    facts = read_tokenizer_json(tokenizer_json)
    for token in (*stop_ids, *(token for token in (bos_id, eos_id) if token is not None)):
        if token not in facts.texts:
            raise TokenizerError(
                f"tokenizer.json has no token with the id {token}, which the model's config names"
            )
    chat = None
    if chat_template is not None:
        names = _named_tokens(facts, bos_id, stop_ids) | dict(special_tokens or {})
        chat = compile_chat_table(chat_template, names, facts)
    return write_table(facts, bos_id, stop_ids, chat, eos_id)


def _named_tokens(facts: TokenizerFacts, bos_id: int | None, stop_ids: Sequence[int]) -> dict[str, str]:
    contents = {token.id: token.content for token in facts.added}
    names = {}
    if bos_id is not None:
        names["bos_token"] = contents.get(bos_id) or facts.texts[bos_id].decode()
    if len(stop_ids) == 1:
        names["eos_token"] = contents.get(stop_ids[0]) or facts.texts[stop_ids[0]].decode()
    return names
