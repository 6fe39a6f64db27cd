"""What a grammar rule produces, and the frames of politeness put around it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from .sampler import Sampler


@dataclass(frozen=True)
class Request:
    """One thing a user says and the answer to it.

    ``imperative`` requests ("turn on ...") accept a polite frame ("could you ... please").
    """

    text: str
    answer: str
    imperative: bool = True


_OPENERS = (
    ("", 44), ("please", 9), ("can you", 6), ("could you", 6), ("could you please", 4),
    ("can you please", 4), ("would you", 3), ("would you please", 2), ("hey,", 3), ("ok,", 3),
    ("hey assistant,", 2), ("i want you to", 3), ("i would like you to", 2), ("i need you to", 2),
    ("go ahead and", 2), ("now", 2), ("just", 2), ("hi, please", 2), ("hey, can you", 2), ("quickly", 1),
)  # fmt: skip
_CLOSERS = (
    ("", 64), ("please", 9), (", please", 3), ("now", 4), ("for me", 4), ("right now", 3), (", thanks", 3),
    ("thank you", 3), ("right away", 2), ("if you can", 2), ("for me please", 2), ("now please", 1),
)  # fmt: skip
_CAPITALS = ((re.compile(r"\btv\b"), "TV"), (re.compile(r"\bac\b"), "AC"), (re.compile(r"\bi\b"), "I"))
_GREETINGS = (("", 80), ("hey,", 6), ("ok,", 5), ("hi,", 3), ("so,", 3), ("well,", 3))


def action(name: str, **fields: str | int | None) -> str:
    """The one-line JSON answer; ``None`` fields are left out."""
    members = {"action": name} | {key: value for key, value in fields.items() if value is not None}
    return json.dumps(members, separators=(",", ":"))


def with_politeness(sampler: Sampler, request: Request) -> str:
    text = request.text
    if not request.imperative:
        return f"{sampler.weighted(_GREETINGS)} {text}".strip()
    opener = sampler.weighted(_OPENERS)
    closer = sampler.weighted(_CLOSERS)
    text = f"{opener} {text} {closer}".strip().replace(" ,", ",")
    asks = opener.split(" ")[-1] == "you" or opener.startswith(("can", "could", "would"))
    return text + "?" if asks and sampler.chance(0.4) else text


def with_typing_habits(sampler: Sampler, text: str) -> str:
    """Capitals and a full stop for some; most people type neither."""
    for pattern, capitals in _CAPITALS:
        if pattern.search(text) and sampler.chance(0.3):
            text = pattern.sub(capitals, text)
    habit = sampler.integer(0, 9)
    if habit < 7:
        return text
    text = text[0].upper() + text[1:]
    return text if habit < 9 or text[-1] in "?.!" else text + "."
