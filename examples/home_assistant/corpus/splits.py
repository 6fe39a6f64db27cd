"""Training stream and held-out splits.

train      no held-out template, no held-out combination
slots      known templates only, at least one held-out combination of slot values
templates  at least one held-out template, known combinations only
both       at least one of each
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import conversation, devices, services
from .request import Request, with_politeness, with_typing_habits
from .sampler import Sampler

HELD_OUT_SPLITS = ("slots", "templates", "both")
TRAINING_SEED = 1
SECOND_STAGE_SEED = 2
_HELD_OUT_SEEDS = {"slots": 1001, "templates": 1002, "both": 1003}
# split -> (held-out template drawn, held-out combination drawn)
_WANTED = {"train": (False, False), "slots": (False, True), "templates": (True, False), "both": (True, True)}

_JOINERS = ("{a} and {b}", "{a} and {b}", "{a} and then {b}", "{a}, then {b}", "{a} and also {b}", "{a}, {b}")
_CONTRACTIONS = (
    (re.compile(r"\bit is\b"), "it's"),
    (re.compile(r"\bi am\b"), "i'm"),
    (re.compile(r"\bwe are\b"), "we're"),
    (re.compile(r"\bdo not\b"), "don't"),
    (re.compile(r"\bwhat is\b"), "what's"),
    (re.compile(r"\bi would\b"), "i'd"),
    (re.compile(r"\blet us\b"), "let's"),
)

Rule = Callable[[Sampler], Request]


@dataclass(frozen=True)
class Mix:
    """How often each grammar rule is drawn; ``pair_percent`` of the requests are two commands in one."""

    rules: tuple[tuple[tuple[str, Rule], int], ...]
    pair_percent: int


# What people ask for. All held-out splits and the first stage of training are drawn from it.
EVERYDAY = Mix(
    (
        (("switch", devices.switch), 17),
        (("brightness", devices.brightness), 11),
        (("color", devices.color), 5),
        (("cover", devices.cover), 8),
        (("door", devices.door), 5),
        (("unknown device", devices.unknown_device), 2),
        (("temperature", services.temperature), 7),
        (("warmer", services.warmer_or_cooler), 4),
        (("play", services.play), 5),
        (("music", services.music_control), 4),
        (("volume", services.volume), 3),
        (("timer", services.timer), 5),
        (("alarm", services.alarm), 5),
        (("cancel", services.cancel), 1),
        (("shopping", services.shopping), 7),
        (("reminder", services.reminder), 8),
        (("scene", services.scene), 2),
        (("cleaning", services.cleaning), 2),
        (("status", services.status), 5),
        (("temperature?", services.temperature_question), 2),
        (("query", services.query), 2),
        (("small talk", conversation.small_talk), 4),
        (("refusal", conversation.out_of_scope), 9),
    ),
    pair_percent=4,
)
# The second stage of training dwells on what is learned last: copied text, times of day, two commands in one.
COPYING = Mix(
    (
        (("switch", devices.switch), 8),
        (("brightness", devices.brightness), 6),
        (("color", devices.color), 5),
        (("cover", devices.cover), 4),
        (("door", devices.door), 4),
        (("unknown device", devices.unknown_device), 3),
        (("temperature", services.temperature), 5),
        (("warmer", services.warmer_or_cooler), 2),
        (("play", services.play), 7),
        (("music", services.music_control), 4),
        (("volume", services.volume), 3),
        (("timer", services.timer), 5),
        (("alarm", services.alarm), 6),
        (("cancel", services.cancel), 1),
        (("shopping", services.shopping), 15),
        (("reminder", services.reminder), 15),
        (("scene", services.scene), 2),
        (("cleaning", services.cleaning), 1),
        (("status", services.status), 4),
        (("temperature?", services.temperature_question), 1),
        (("query", services.query), 2),
        (("small talk", conversation.small_talk), 5),
        (("refusal", conversation.out_of_scope), 13),
    ),
    pair_percent=12,
)

_PAIRED: tuple[Rule, ...] = (
    devices.switch, devices.switch, devices.brightness, devices.color, devices.cover, devices.door,
    services.temperature, services.play, services.timer,
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One request and its only right answer.

    ``category`` names the grammar rule; ``templates`` and ``combinations`` are what it was drawn from.
    """

    prompt: str
    answer: str
    category: str
    templates: tuple[str, ...] = ()
    combinations: tuple[str, ...] = ()

    @property
    def is_action(self) -> bool:
        """Whether the answer is JSON rather than words."""
        return self.answer[0] in "{["


def examples(split: str, seed: int, mix: Mix = EVERYDAY) -> Iterator[Example]:
    """Endless deterministic stream of one split; prompts may repeat.

    Raises KeyError for an unknown split.
    """
    sampler = Sampler(seed)
    wanted = _WANTED[split]
    while True:
        sampler.begin_example()
        example = _draw(sampler, mix)
        if (sampler.drew_held_out_template, sampler.drew_held_out_combination) == wanted:
            yield example


def held_out_examples(split: str, count: int) -> list[Example]:
    """The first ``count`` examples of a held-out split with distinct prompts."""
    distinct: dict[str, Example] = {}
    for example in examples(split, _HELD_OUT_SEEDS[split]):
        distinct.setdefault(example.prompt, example)
        if len(distinct) == count:
            break
    return list(distinct.values())


def _draw(sampler: Sampler, mix: Mix) -> Example:
    if sampler.integer(1, 100) <= mix.pair_percent:
        category, request = "pair", _pair(sampler)
    else:
        category, rule = sampler.weighted(mix.rules)
        request = rule(sampler)
    text = _with_contractions(sampler, with_politeness(sampler, request))
    prompt = with_typing_habits(sampler, text)
    return Example(prompt, request.answer, category, tuple(sampler.templates), tuple(sampler.combinations))


def _pair(sampler: Sampler) -> Request:
    """Two commands in one sentence; the answer is a JSON list in the order spoken."""
    first, second = (_imperative(sampler) for _ in range(2))
    text = sampler.choice(_JOINERS).format(a=first.text, b=second.text)
    return Request(text, f"[{first.answer},{second.answer}]")


def _imperative(sampler: Sampler) -> Request:
    while True:
        templates, combinations = len(sampler.templates), len(sampler.combinations)
        request = sampler.choice(_PAIRED)(sampler)
        if request.imperative:
            return request
        del sampler.templates[templates:], sampler.combinations[combinations:]


def _with_contractions(sampler: Sampler, text: str) -> str:
    for pattern, short in _CONTRACTIONS:
        if pattern.search(text) and sampler.chance(0.5):
            text = pattern.sub(short, text)
    return text
