"""How the word lists of the corpus are written down."""

from __future__ import annotations


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of ``text``, separated by ``|``; line breaks and indentation do not count."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))
