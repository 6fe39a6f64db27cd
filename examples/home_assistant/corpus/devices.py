"""Grammar of everything in the house that is switched, dimmed, opened, locked or heated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import vocabulary as words
from .request import Request, action
from .sampler import Sampler
from .spoken import percentage

WITH_ROOM = (
    "the {room} {device}", "the {device} in the {room}", "{room} {device}", "{device} in the {room}",
    "the {device} of the {room}", "my {room} {device}", "the {device} in my {room}", "the {room}'s {device}",
    "our {room} {device}", "the {device} over in the {room}",
)  # fmt: skip
# The room may also stand apart from the device: "turn the light on in the kitchen".
ROOM_APART = (
    "{sentence} in the {room}", "{sentence} in the {room}", "{sentence} in my {room}", "in the {room} {sentence}",
    "in the {room}, {sentence}",
)  # fmt: skip
WITHOUT_ROOM = ("the {device}", "the {device}", "my {device}", "{device}", "our {device}", "that {device}")
EVERYWHERE = (
    "all the {device}", "all {device}", "every {device}", "the {device} everywhere", "the {device} in every room",
    "the {device} in the whole house", "all the {device} in the house", "each {device}",
)  # fmt: skip
ALL_IN_ROOM = (
    "all the {device} in the {room}", "all {device} in the {room}", "all the {room} {device}",
    "every {device} in the {room}", "all {room} {device}", "both {device} in the {room}",
)  # fmt: skip
ONLY_ROOM = ("the {room}", "my {room}", "the whole {room}", "our {room}", "{room}")
EVERYTHING = ("everything", "all devices", "all the devices", "everything in the house", "everything in here")
EVERYTHING_IN_ROOM = ("everything in the {room}", "all devices in the {room}", "everything in my {room}")

TURN_ON = (
    "turn on {x}", "turn {x} on", "switch on {x}", "switch {x} on", "power on {x}", "power up {x}", "put {x} on",
    "put on {x}", "activate {x}", "enable {x}", "start {x}", "start up {x}", "fire up {x}", "set {x} to on",
    "bring {x} on", "get {x} going", "make sure {x} is on", "leave {x} on", "have {x} on", "i want {x} on",
    "i need {x} on", "i want {x} to be on", "{x} on", "{x} should be on", "i would like {x} on",
)  # fmt: skip
TURN_OFF = (
    "turn off {x}", "turn {x} off", "switch off {x}", "switch {x} off", "power off {x}", "power down {x}",
    "put {x} off", "shut off {x}", "shut {x} off", "shut down {x}", "shut {x} down", "deactivate {x}", "disable {x}",
    "stop {x}", "kill {x}", "set {x} to off", "make sure {x} is off", "leave {x} off", "have {x} off",
    "i want {x} off", "i need {x} off", "i want {x} to be off", "{x} off", "{x} should be off",
    "i would like {x} off",
)  # fmt: skip
SET_BRIGHTNESS = (
    "dim {x} to {value}", "dim {x} down to {value}", "set {x} to {value}", "set the brightness of {x} to {value}",
    "set {x} brightness to {value}", "brighten {x} to {value}", "brighten {x} up to {value}", "put {x} at {value}",
    "put {x} to {value}", "adjust {x} to {value}", "change {x} to {value}", "change {x} brightness to {value}",
    "change the brightness of {x} to {value}", "lower {x} to {value}", "raise {x} to {value}", "bring {x} to {value}",
    "bring {x} down to {value}", "turn {x} to {value}", "turn {x} down to {value}", "turn {x} up to {value}",
    "reduce {x} to {value}", "increase {x} to {value}", "make {x} {value} bright", "set {x} to {value} brightness",
    "i want {x} at {value}", "i need {x} at {value}", "{x} to {value}", "{x} at {value}", "have {x} at {value}",
)  # fmt: skip
BRIGHTER = (
    "make {x} brighter", "brighten {x}", "brighten up {x}", "brighten {x} a bit", "turn up {x}", "turn {x} up",
    "turn {x} up a bit", "turn up {x} a little", "increase {x}", "increase the brightness of {x}",
    "make {x} a bit brighter", "make {x} a little brighter", "raise the brightness of {x}", "raise {x} a bit",
    "i want {x} brighter", "{x} brighter", "i need {x} brighter", "{x} is too dark", "{x} should be brighter",
)  # fmt: skip
DIMMER = (
    "make {x} darker", "make {x} dimmer", "dim {x}", "dim down {x}", "dim {x} a bit", "dim {x} a little",
    "turn down {x}", "turn {x} down", "turn {x} down a bit", "turn down {x} a little", "decrease {x}",
    "decrease the brightness of {x}", "reduce the brightness of {x}", "make {x} a bit darker",
    "make {x} a little dimmer", "lower the brightness of {x}", "lower {x} a bit", "i want {x} darker",
    "i need {x} dimmer", "{x} darker", "{x} is too bright", "{x} should be dimmer",
)  # fmt: skip
DIM_ROOM = (
    "dim {x} to {value}", "brighten {x} to {value}", "dim {x} down to {value}", "light {x} to {value}",
    "light up {x} to {value}",
)  # fmt: skip
BRIGHTER_ROOM = (
    "make {x} brighter", "make {x} a bit brighter", "brighten {x}", "brighten up {x}", "light up {x}",
    "{x} is too dark", "i want {x} brighter", "more light in {x}", "i need more light in {x}",
    "give me more light in {x}", "it is too dark in {x}", "it is dark in {x}", "make it brighter in {x}",
    "make {x} a little brighter", "{x} should be brighter",
)  # fmt: skip
DIMMER_ROOM = (
    "make {x} darker", "make {x} a bit darker", "make {x} dimmer", "dim {x}", "dim down {x}", "dim {x} a bit",
    "{x} is too bright", "i want {x} darker", "less light in {x}", "i need less light in {x}",
    "it is too bright in {x}", "make it darker in {x}", "make {x} a little darker", "{x} should be dimmer",
)  # fmt: skip
SET_COLOR = (
    "set {x} to {color}", "make {x} {color}", "turn {x} {color}", "turn {x} to {color}", "change {x} to {color}",
    "change the color of {x} to {color}", "set the color of {x} to {color}", "switch {x} to {color}",
    "color {x} {color}", "set {x} color to {color}", "put {x} on {color}", "put {x} to {color}",
    "adjust {x} to {color}", "bring {x} to {color}", "change {x} color to {color}", "make the color of {x} {color}",
    "i want {x} in {color}", "i want {x} {color}", "i want {x} to be {color}", "i need {x} in {color}",
    "{x} in {color}", "{x} should be {color}", "have {x} in {color}",
)  # fmt: skip
OPEN = (
    "open {x}", "open up {x}", "raise {x}", "pull up {x}", "roll up {x}", "pull {x} up", "roll {x} up",
    "pull {x} open", "get {x} open", "make sure {x} are open", "bring {x} up", "set {x} to open", "have {x} open",
    "i want {x} open", "i need {x} open", "{x} open", "i would like {x} open", "{x} up",
)  # fmt: skip
CLOSE = (
    "close {x}", "close up {x}", "lower {x}", "pull down {x}", "roll down {x}", "pull {x} down", "roll {x} down",
    "shut {x}", "pull {x} shut", "get {x} closed", "make sure {x} are closed", "bring {x} down", "set {x} to closed",
    "have {x} closed", "i want {x} closed", "i need {x} closed", "{x} closed", "i would like {x} closed", "{x} down",
    "let down {x}",
)  # fmt: skip
SET_POSITION = (
    "open {x} to {value}", "set {x} to {value}", "move {x} to {value}", "put {x} at {value}", "put {x} to {value}",
    "open {x} {value}", "set the position of {x} to {value}", "roll {x} to {value}", "bring {x} to {value}",
    "lower {x} to {value}", "raise {x} to {value}", "close {x} to {value}", "adjust {x} to {value}",
    "change {x} to {value}", "pull {x} to {value}", "i want {x} at {value}", "{x} to {value}", "have {x} at {value}",
)  # fmt: skip
LOCK = (
    "lock {x}", "lock up {x}", "bolt {x}", "secure {x}", "make sure {x} is locked", "get {x} locked",
    "put the lock on {x}", "keep {x} locked", "set {x} to locked", "i want {x} locked", "i need {x} locked",
    "{x} should be locked", "i would like {x} locked", "have {x} locked",
)  # fmt: skip
UNLOCK = (
    "unlock {x}", "unbolt {x}", "make sure {x} is unlocked", "get {x} unlocked", "take the lock off {x}",
    "keep {x} unlocked", "set {x} to unlocked", "i want {x} unlocked", "i need {x} unlocked",
    "{x} should be unlocked", "i would like {x} unlocked", "let me in through {x}", "remove the lock from {x}",
    "have {x} unlocked",
)  # fmt: skip
OPEN_DOOR = (
    "open {x}", "open up {x}", "get {x} open", "make sure {x} is open", "set {x} to open", "i want {x} open",
    "i need {x} open", "{x} should be open", "keep {x} open", "pull {x} open", "have {x} open",
)  # fmt: skip
CLOSE_DOOR = (
    "close {x}", "close up {x}", "shut {x}", "get {x} closed", "make sure {x} is closed", "set {x} to closed",
    "i want {x} closed", "i need {x} closed", "{x} should be closed", "keep {x} closed", "pull {x} shut",
    "have {x} closed",
)  # fmt: skip
ALL_DOORS = ("all the doors", "all doors", "every door", "all of the doors", "the doors")
DOOR_NAMES = ("the {device}", "{device}", "my {device}", "our {device}", "that {device}")

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
        return sampler.template(ROOM_APART, sentence=patterns, x=WITHOUT_ROOM)


def is_imperative(template: str) -> bool:
    return not template.startswith(_STATEMENT_STARTS)


def subject(sampler: Sampler, devices: Mapping[str, str], purpose: str, room_share: float = 0.72) -> Subject:
    """Draw a device, usually with its room; the triple with ``purpose`` is a combination that may be held out."""
    name = sampler.choice(tuple(devices))
    if not sampler.chance(room_share):
        sampler.combination(purpose, name)
        return Subject(devices[name], None, {"device": name}, WITHOUT_ROOM)
    room = sampler.choice(tuple(words.ROOMS))
    sampler.combination(purpose, name, room)
    spoken = {"device": name, "room": room}
    return Subject(devices[name], words.ROOMS[room], spoken, WITH_ROOM, room_apart=sampler.chance(0.12))


def switch(sampler: Sampler) -> Request:
    table = words.LIGHTS if sampler.chance(0.5) else words.APPLIANCES
    turn_on = sampler.chance(0.5)
    name = "turn_on" if turn_on else "turn_off"
    patterns = TURN_ON if turn_on else TURN_OFF
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
        template = sampler.template(patterns, x=ALL_IN_ROOM if in_room else EVERYWHERE)
    else:
        template = sampler.template(patterns, x=EVERYTHING_IN_ROOM if in_room else EVERYTHING)
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
    template = target.template(sampler, SET_BRIGHTNESS)
    text = template.format(value=percentage(sampler, value), **target.spoken)
    answer = action("set_brightness", device=target.device, room=target.room, value=value)
    return Request(text, answer, is_imperative(template))


def _brightness_step(sampler: Sampler) -> Request:
    brighter = sampler.chance(0.5)
    name = "brighten" if brighter else "dim"
    target = subject(sampler, words.LIGHTS, name)
    template = target.template(sampler, BRIGHTER if brighter else DIMMER)
    answer = action(name, device=target.device, room=target.room)
    return Request(template.format(**target.spoken), answer, is_imperative(template))


def _room_brightness(sampler: Sampler) -> Request:
    """A room without a device means its light."""
    name, patterns = sampler.choice(
        (("brighten", BRIGHTER_ROOM), ("dim", DIMMER_ROOM), ("set_brightness", DIM_ROOM))
    )
    room = sampler.choice(tuple(words.ROOMS))
    value = _percent(sampler) if name == "set_brightness" else None
    sampler.combination(name, "only room", room)
    template = sampler.template(patterns, x=ONLY_ROOM)
    text = template.format(room=room, value=percentage(sampler, value or 0))
    answer = action(name, device="light", room=words.ROOMS[room], value=value)
    return Request(text, answer, is_imperative(template))


def _percent(sampler: Sampler) -> int:
    return 5 * sampler.integer(1, 20) if sampler.chance(0.6) else sampler.integer(1, 100)


def color(sampler: Sampler) -> Request:
    target = subject(sampler, words.LIGHTS, "set_color")
    value = sampler.choice(words.COLORS)
    sampler.combination("color", target.device, value)
    template = target.template(sampler, SET_COLOR)
    answer = action("set_color", device=target.device, room=target.room, value=value)
    return Request(template.format(color=value, **target.spoken), answer, is_imperative(template))


def cover(sampler: Sampler) -> Request:
    if sampler.chance(0.3):
        return _cover_position(sampler)
    opening = sampler.chance(0.5)
    name = "open" if opening else "close"
    if sampler.chance(0.08):
        return _all_covers(sampler, name, OPEN if opening else CLOSE)
    target = subject(sampler, words.COVERS, name)
    template = target.template(sampler, OPEN if opening else CLOSE)
    answer = action(name, device=target.device, room=target.room)
    return Request(template.format(**target.spoken), answer, is_imperative(template))


def _all_covers(sampler: Sampler, name: str, patterns: tuple[str, ...]) -> Request:
    spoken = sampler.choice([cover for cover in words.COVERS if cover.endswith("s")])
    sampler.combination(name, "all", spoken)
    places = [place for place in EVERYWHERE if not place.startswith(("every ", "each "))]
    template = sampler.template(patterns, x=places)
    answer = action(name, device=words.COVERS[spoken], room="all")
    return Request(template.format(device=spoken), answer, is_imperative(template))


def _cover_position(sampler: Sampler) -> Request:
    target = subject(sampler, words.COVERS, "set_position")
    value = 5 * sampler.integer(1, 19)
    sampler.combination("position", target.device, value)
    template = target.template(sampler, SET_POSITION)
    text = template.format(value=percentage(sampler, value), **target.spoken)
    answer = action("set_position", device=target.device, room=target.room, value=value)
    return Request(text, answer, is_imperative(template))


def door(sampler: Sampler) -> Request:
    name, patterns = sampler.choice(
        (("lock", LOCK), ("unlock", UNLOCK), ("open", OPEN_DOOR), ("close", CLOSE_DOOR))
    )
    if name in ("lock", "unlock") and sampler.chance(0.12):
        template = sampler.template(patterns, x=ALL_DOORS)
        return Request(template, action(name, device="all doors"), is_imperative(template))
    device = sampler.choice(words.DOORS)
    sampler.combination(name, device)
    template = sampler.template(patterns, x=DOOR_NAMES)
    return Request(template.format(device=device), action(name, device=device), is_imperative(template))


def unknown_device(sampler: Sampler) -> Request:
    """A device the house does not have: the answer is in words."""
    patterns = sampler.choice((TURN_ON, TURN_OFF, OPEN, CLOSE))
    name = sampler.invented_word()
    has_room = sampler.chance(0.5)
    template = sampler.template(patterns, x=WITH_ROOM if has_room else WITHOUT_ROOM)
    text = template.format(device=name, room=sampler.choice(tuple(words.ROOMS)))
    return Request(text, UNKNOWN_DEVICE_ANSWER, is_imperative(template))
