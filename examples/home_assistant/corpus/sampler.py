"""Seeded choices which remember whether anything held out was drawn.

A template (a sentence pattern with blank slots) or a combination of slot values is held out by the CRC32 of
its text, so the decision depends neither on the random stream nor on the size of the corpus.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

from .vocabulary import SYLLABLE_ONSETS, SYLLABLE_RHYMES

HELD_OUT_TEMPLATE_PERCENT = 15
HELD_OUT_COMBINATION_PERCENT = 12

# Everyday phrasings are always trained: a user must not meet a gap the split tore open on purpose.
ALWAYS_TRAINED = frozenset(
    {
        "turn on the {room} {device}",
        "turn on the {device} in the {room}",
        "turn the {room} {device} on",
        "turn on the {device}",
        "turn the {device} on",
        "turn off the {room} {device}",
        "turn off the {device} in the {room}",
        "turn the {room} {device} off",
        "turn off the {device}",
        "turn the {device} on in the {room}",
        "turn the {device} off in the {room}",
        "turn off all the {device}",
        "turn on all the {device}",
        "turn off everything",
        "is the {room} {device} on",
        "is the {device} on in the {room}",
        "is the {device} locked",
        "what is the temperature in the {room}",
        "turn the {device} off",
        "dim the {room} {device} to {value}",
        "dim the {device} to {value}",
        "set the {room} {device} to {value}",
        "dim the {device} in the {room} to {value}",
        "dim the {room} {device}",
        "set the {room} {device} to {color}",
        "make the {room} {device} {color}",
        "set the thermostat to {value}",
        "set the temperature to {value}",
        "set the temperature in the {room} to {value}",
        "open the {room} {device}",
        "open the {device} in the {room}",
        "close the {room} {device}",
        "close the {device} in the {room}",
        "open the {device}",
        "close the {device}",
        "lock the {device}",
        "unlock the {device}",
        "play {genre}",
        "play {genre} in the {room}",
        "play some {genre}",
        "play some music",
        "play music",
        "lock all the doors",
        "make the {room} brighter",
        "set an alarm for {time} tomorrow",
        "mute the {device}",
        "what is on the shopping list",
        "close all the {device}",
        "set a timer for {value} {units}",
        "set a {value} {unit} timer",
        "set an alarm for {time}",
        "wake me up at {time}",
        "remind me to {text}",
        "remind me to {text} at {time}",
        "add {item} to the shopping list",
        "add {item} to my shopping list",
        "what can you do",
        "who are you",
        "we need {item}",
        "add {item} to the list",
        "what is on my shopping list",
        "stop the music",
        "mute",
        "put on {genre}",
        "dim the {device}",
        "switch the {device} on",
        "switch the {device} off",
        "is the {device} open",
        "is the {device} closed",
        "set an alarm at {time}",
        "when is my alarm",
        "make it a bit warmer",
        "tell me who you are",
        "do you like {topic}",
        "who wrote {topic}",
        "what is the capital of {place}",
    }
)

T = TypeVar("T")


def is_held_out_template(text: str) -> bool:
    """Whether the sentence pattern ``text`` (slots as ``{name}``) is kept out of training."""
    return text not in ALWAYS_TRAINED and _percentile("template", text) < HELD_OUT_TEMPLATE_PERCENT


def is_held_out_combination(text: str) -> bool:
    """Whether the slot values joined in ``text`` are kept out of training."""
    return _percentile("combination", text) < HELD_OUT_COMBINATION_PERCENT


def _percentile(kind: str, text: str) -> int:
    return zlib.crc32(f"{kind} {text}".encode()) % 100


class Sampler:
    """Random choices for one stream of examples; the same seed gives the same stream.

    Only ``Random.random`` is used: its sequence is guaranteed across Python versions.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.templates: list[str] = []
        self.combinations: list[str] = []

    def begin_example(self) -> None:
        self.templates = []
        self.combinations = []

    @property
    def drew_held_out_template(self) -> bool:
        return any(map(is_held_out_template, self.templates))

    @property
    def drew_held_out_combination(self) -> bool:
        return any(map(is_held_out_combination, self.combinations))

    def integer(self, low: int, high: int) -> int:
        """Uniform in ``low..high``, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self._random.random() * len(options))]

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """One of ``(option, weight)`` pairs."""
        point = self._random.random() * sum(weight for _, weight in options)
        for option, weight in options:
            point -= weight
            if point < 0:
                return option
        return options[-1][0]

    def template(self, patterns: Sequence[str], **parts: Sequence[str]) -> str:
        """Draw a pattern and a wording for each of its ``parts``; the composed sentence is the template."""
        text = self.choice(patterns)
        for name, wordings in parts.items():
            text = text.replace("{" + name + "}", self.choice(wordings))
        self.templates.append(text)
        return text

    def combination(self, *values: object) -> None:
        """Record slot values that together may be held out."""
        self.combinations.append("/".join(map(str, values)))

    def invented_word(self) -> str:
        """A pronounceable word of two or three syllables; it teaches copying instead of recall."""
        syllables = self.integer(2, 3)
        return "".join(self.choice(SYLLABLE_ONSETS) + self.choice(SYLLABLE_RHYMES) for _ in range(syllables))
