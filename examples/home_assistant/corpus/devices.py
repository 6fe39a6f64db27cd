"""Grammar of everything in the house that is switched, dimmed, opened, locked or heated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import device_wordings as say
from . import vocabulary as words
from .request import Request, action
from .sampler import Sampler
from .spoken import percentage

UNKNOWN_DEVICE_ANSWER = "Sorry, I do not know that device."

_STATEMENT_STARTS = ("i ", "{", "the ", "my ", "our ", "that ", "all ", "every", "each ", "both ",
                     "in ", "more ", "less ", "it ")  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A device somewhere: as spoken, as answered, and the sentence parts that name it."""

    device: str
    room: str | None
    spoken: Mapping[str, str]
    places: tuple[str, ...]
    room_apart: bool = False

    def template(self, sampler: Sampler, patterns: Sequence[str]) -> str:
        """Draw a pattern and fill its ``{x}`` with a wording of this device and its room."""
        if not self.room_apart:
            return sampler.template(patterns, x=self.places)
        return sampler.template(say.ROOM_APART, sentence=patterns, x=say.WITHOUT_ROOM)


def is_imperative(template: str) -> bool:
    return not template.startswith(_STATEMENT_STARTS)


def subject(sampler: Sampler, devices: Mapping[str, str], purpose: str, room_share: float = 0.72) -> Subject:
    """Draw a device, usually with its room; both with ``purpose`` are a combination to hold out."""
    name = sampler.choice(tuple(devices))
    if not sampler.chance(room_share):
        sampler.combination(purpose, name)
        return Subject(devices[name], None, {"device": name}, say.WITHOUT_ROOM)
    room = sampler.choice(tuple(words.ROOMS))
    sampler.combination(purpose, name, room)
    spoken = {"device": name, "room": room}
    return Subject(devices[name], words.ROOMS[room], spoken, say.WITH_ROOM, room_apart=sampler.chance(0.12))


def switch(sampler: Sampler) -> Request:
    table = words.LIGHTS if sampler.chance(0.5) else words.APPLIANCES
    turn_on = sampler.chance(0.5)
    name = "turn_on" if turn_on else "turn_off"
    patterns = say.TURN_ON if turn_on else say.TURN_OFF
    if sampler.chance(0.08):
        return _switch_many(sampler, name, patterns)
    target = subject(sampler, table, name)
    template = target.template(sampler, patterns)
    answer = action(name, device=target.device, room=target.room)
    return Request(template.format(**target.spoken), answer, is_imperative(template))


def _switch_many(sampler: Sampler, name: str, patterns: tuple[str, ...]) -> Request:
    """All lights, or everything, in one room or in the house."""
    only_lights, in_room = sampler.chance(0.7), sampler.chance(0.5)
    if only_lights:
        template = sampler.template(patterns, x=say.ALL_IN_ROOM if in_room else say.EVERYWHERE)
    else:
        template = sampler.template(patterns, x=say.EVERYTHING_IN_ROOM if in_room else say.EVERYTHING)
    singular = "every {device}" in template or "each {device}" in template
    spoken_room = sampler.choice(tuple(words.ROOMS))
    if in_room:
        sampler.combination(name, "all", spoken_room)
    text = template.format(device="light" if singular else "lights", room=spoken_room)
    room = words.ROOMS[spoken_room] if in_room else "all"
    answer = action(name, device="light" if only_lights else "all", room=room)
    return Request(text, answer, is_imperative(template))


def brightness(sampler: Sampler) -> Request:
    if sampler.chance(0.15):
        return _room_brightness(sampler)
    if sampler.chance(0.35):
        return _brightness_step(sampler)
    target = subject(sampler, words.LIGHTS, "set_brightness")
    value = _percent(sampler)
    sampler.combination("brightness", target.device, value)
    template = target.template(sampler, say.SET_BRIGHTNESS)
    text = template.format(value=percentage(sampler, value), **target.spoken)
    answer = action("set_brightness", device=target.device, room=target.room, value=value)
    return Request(text, answer, is_imperative(template))


def _brightness_step(sampler: Sampler) -> Request:
    brighter = sampler.chance(0.5)
    name = "brighten" if brighter else "dim"
    target = subject(sampler, words.LIGHTS, name)
    template = target.template(sampler, say.BRIGHTER if brighter else say.DIMMER)
    answer = action(name, device=target.device, room=target.room)
    return Request(template.format(**target.spoken), answer, is_imperative(template))


def _room_brightness(sampler: Sampler) -> Request:
    """A room without a device means its light."""
    name, patterns = sampler.choice(
        (("brighten", say.BRIGHTER_ROOM), ("dim", say.DIMMER_ROOM), ("set_brightness", say.DIM_ROOM))
    )
    room = sampler.choice(tuple(words.ROOMS))
    value = _percent(sampler) if name == "set_brightness" else None
    sampler.combination(name, "only room", room)
    template = sampler.template(patterns, x=say.ONLY_ROOM)
    text = template.format(room=room, value=percentage(sampler, value or 0))
    answer = action(name, device="light", room=words.ROOMS[room], value=value)
    return Request(text, answer, is_imperative(template))


def _percent(sampler: Sampler) -> int:
    return 5 * sampler.integer(1, 20) if sampler.chance(0.6) else sampler.integer(1, 100)


def color(sampler: Sampler) -> Request:
    target = subject(sampler, words.LIGHTS, "set_color")
    value = sampler.choice(words.COLORS)
    sampler.combination("color", target.device, value)
    template = target.template(sampler, say.SET_COLOR)
    answer = action("set_color", device=target.device, room=target.room, value=value)
    return Request(template.format(color=value, **target.spoken), answer, is_imperative(template))


def cover(sampler: Sampler) -> Request:
    if sampler.chance(0.3):
        return _cover_position(sampler)
    opening = sampler.chance(0.5)
    name = "open" if opening else "close"
    if sampler.chance(0.08):
        return _all_covers(sampler, name, say.OPEN if opening else say.CLOSE)
    target = subject(sampler, words.COVERS, name)
    template = target.template(sampler, say.OPEN if opening else say.CLOSE)
    answer = action(name, device=target.device, room=target.room)
    return Request(template.format(**target.spoken), answer, is_imperative(template))


def _all_covers(sampler: Sampler, name: str, patterns: tuple[str, ...]) -> Request:
    spoken = sampler.choice([cover for cover in words.COVERS if cover.endswith("s")])
    sampler.combination(name, "all", spoken)
    places = [place for place in say.EVERYWHERE if not place.startswith(("every ", "each "))]
    template = sampler.template(patterns, x=places)
    answer = action(name, device=words.COVERS[spoken], room="all")
    return Request(template.format(device=spoken), answer, is_imperative(template))


def _cover_position(sampler: Sampler) -> Request:
    target = subject(sampler, words.COVERS, "set_position")
    value = 5 * sampler.integer(1, 19)
    sampler.combination("position", target.device, value)
    template = target.template(sampler, say.SET_POSITION)
    text = template.format(value=percentage(sampler, value), **target.spoken)
    answer = action("set_position", device=target.device, room=target.room, value=value)
    return Request(text, answer, is_imperative(template))


def door(sampler: Sampler) -> Request:
    name, patterns = sampler.choice(
        (("lock", say.LOCK), ("unlock", say.UNLOCK), ("open", say.OPEN_DOOR), ("close", say.CLOSE_DOOR))
    )
    if name in ("lock", "unlock") and sampler.chance(0.12):
        template = sampler.template(patterns, x=say.ALL_DOORS)
        return Request(template, action(name, device="all doors"), is_imperative(template))
    device = sampler.choice(words.DOORS)
    sampler.combination(name, device)
    template = sampler.template(patterns, x=say.DOOR_NAMES)
    return Request(template.format(device=device), action(name, device=device), is_imperative(template))


def unknown_device(sampler: Sampler) -> Request:
    """A device the house does not have: the answer is in words."""
    patterns = sampler.choice((say.TURN_ON, say.TURN_OFF, say.OPEN, say.CLOSE))
    name = sampler.invented_word()
    has_room = sampler.chance(0.5)
    template = sampler.template(patterns, x=say.WITH_ROOM if has_room else say.WITHOUT_ROOM)
    text = template.format(device=name, room=sampler.choice(tuple(words.ROOMS)))
    return Request(text, UNKNOWN_DEVICE_ANSWER, is_imperative(template))
