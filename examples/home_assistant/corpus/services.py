"""Grammar of climate, music, timers, alarms, reminders, the shopping list, scenes, cleaning and questions."""

from __future__ import annotations

from collections.abc import Sequence

from . import service_wordings as say
from . import vocabulary as words
from .devices import is_imperative, subject
from .request import Request, action
from .sampler import Sampler
from .spoken import number, percentage, time_of_day

PLAY_IN_ROOM = tuple(pattern + "{where}" for pattern in say.PLAY)

_INVENTED_ITEM_SHARE = 0.3
_EVERYDAY_CHORE_SHARE = 0.4
_QUESTION_STARTS = ("is ", "are ", "did ", "what", "how", "have i", "do ", "when", "which", "can i", "can we")
_STATEMENT_STARTS = ("it ", "we ", "there ", "nobody", "dinner", "time ", "at ", "tomorrow", "more ", "less ",
                     "let us", "do not", "no ", "good ")  # fmt: skip


def _request(sampler: Sampler, template: str, answer: str, **slots: str) -> Request:
    text = template.format(**slots)
    if template.startswith(_QUESTION_STARTS):
        return Request(text + "?" if sampler.chance(0.6) else text, answer, imperative=False)
    return Request(text, answer, is_imperative(template) and not template.startswith(_STATEMENT_STARTS))


def _room(sampler: Sampler) -> tuple[str, str]:
    """A room as spoken and its canonical name."""
    name = sampler.choice(tuple(words.ROOMS))
    return name, words.ROOMS[name]


def _degrees(sampler: Sampler, value: int) -> str:
    wording = sampler.choice(say.DEGREES)
    return wording.format(number=value if "°" in wording else number(sampler, value))


def temperature(sampler: Sampler) -> Request:
    value = sampler.integer(10, 30)
    spoken = _degrees(sampler, value)
    if sampler.chance(0.45):
        sampler.combination("temperature", value)
        template = sampler.template(say.SET_TEMPERATURE, x=say.THERMOSTAT)
        return _request(sampler, template, action("set_temperature", value=value), value=spoken)
    name, room = _room(sampler)
    sampler.combination("temperature", name, value)
    if sampler.chance(0.7):
        template = sampler.template(say.SET_TEMPERATURE, x=say.HEATED_ROOM)
    else:
        template = sampler.template(say.HEAT_ROOM)
    answer = action("set_temperature", room=room, value=value)
    return _request(sampler, template, answer, value=spoken, room=name)


def warmer_or_cooler(sampler: Sampler) -> Request:
    warmer = sampler.chance(0.5)
    answer_name = "warmer" if warmer else "cooler"
    name, room = _room(sampler)
    form = sampler.integer(0, 4)
    nowhere: Sequence[str] = ("",)
    where = nowhere if form in (0, 4) else say.IN_ROOM
    if form >= 3:
        template = sampler.template(say.HEAT_UP if warmer else say.HEAT_DOWN, where=where)
    else:
        feeling = [pattern + "{where}" for pattern in (say.WARMER if warmer else say.COOLER)]
        if form == 2:
            template = sampler.template(feeling, it=("the {room}", "my {room}"), where=nowhere)
        else:
            template = sampler.template(feeling, it=("it",), where=where)
    if "{room}" not in template:
        return _request(sampler, template, action(answer_name))
    sampler.combination(answer_name, name)
    return _request(sampler, template, action(answer_name, room=room), room=name)


def play(sampler: Sampler) -> Request:
    if sampler.chance(0.15):
        return _any_music(sampler)
    genre = sampler.choice(words.GENRES)
    if sampler.chance(0.5):
        template = sampler.template(say.PLAY, g=say.GENRE_WORDING)
        return _request(sampler, template, action("play_music", value=genre), genre=genre)
    name, room = _room(sampler)
    sampler.combination("play", genre, name)
    template = sampler.template(PLAY_IN_ROOM, g=say.GENRE_WORDING, where=say.IN_ROOM)
    return _request(sampler, template, action("play_music", room=room, value=genre), genre=genre, room=name)


def _any_music(sampler: Sampler) -> Request:
    """Music without a genre."""
    if sampler.chance(0.6):
        return _request(sampler, sampler.template(say.PLAY, g=say.ANY_MUSIC), action("play_music"))
    name, room = _room(sampler)
    sampler.combination("play", "any", name)
    template = sampler.template(PLAY_IN_ROOM, g=say.ANY_MUSIC, where=say.IN_ROOM)
    return _request(sampler, template, action("play_music", room=room), room=name)


def _loud_device(sampler: Sampler, purpose: str) -> tuple[str, str]:
    """A device with a volume of its own as spoken, and its canonical name."""
    spoken = sampler.choice(("tv", "television", "radio", "speaker", "speakers"))
    sampler.combination(purpose, spoken)
    return spoken, words.APPLIANCES[spoken]


def music_control(sampler: Sampler) -> Request:
    name = sampler.choice(tuple(say.MUSIC_CONTROL))
    if name in ("volume_up", "volume_down", "mute") and sampler.chance(0.5):
        spoken, device = _loud_device(sampler, name)
        patterns = [pattern for pattern in say.MUSIC_CONTROL[name] if "{" in pattern]
        template = sampler.template(patterns, m=say.LOUD_DEVICE, v=say.DEVICE_VOLUME)
        return _request(sampler, template, action(name, device=device), device=spoken)
    template = sampler.template(say.MUSIC_CONTROL[name], m=say.MUSIC, s=say.SONG, v=say.VOLUME)
    return _request(sampler, template, action(name))


def volume(sampler: Sampler) -> Request:
    value = 5 * sampler.integer(1, 20) if sampler.chance(0.6) else sampler.integer(1, 100)
    sampler.combination("volume", value)
    spoken = percentage(sampler, value) if sampler.chance(0.5) else number(sampler, value)
    if sampler.chance(0.3):
        device_name, device = _loud_device(sampler, "set_volume")
        template = sampler.template(say.SET_VOLUME, v=say.DEVICE_VOLUME)
        answer = action("set_volume", device=device, value=value)
        return _request(sampler, template, answer, value=spoken, device=device_name)
    template = sampler.template(say.SET_VOLUME, v=say.VOLUME)
    return _request(sampler, template, action("set_volume", value=value), value=spoken)


def timer(sampler: Sampler) -> Request:
    if sampler.chance(0.06):
        duration, value, units = sampler.choice(say.NAMED_DURATIONS)
        template = sampler.template(say.TIMER, t=say.NAMED_DURATION_TIMER)
        return _request(sampler, template, action("set_timer", value=value, unit=units), duration=duration)
    unit = sampler.choice(("second", "minute", "minute", "hour"))
    value = sampler.integer(1, 12) if unit == "hour" else sampler.integer(1, 60)
    if unit != "hour" and sampler.chance(0.5):
        value = 5 * sampler.integer(1, 12)
    sampler.combination("timer", value, unit)
    template = sampler.template(say.TIMER, t=say.TIMER_WORDING)
    units = unit if value == 1 else unit + "s"
    answer = action("set_timer", value=value, unit=unit + "s")
    return _request(sampler, template, answer, value=number(sampler, value), unit=unit, units=units)


def alarm(sampler: Sampler) -> Request:
    spoken, canonical = time_of_day(sampler)
    if sampler.chance(0.2):
        template = sampler.template(("{a} tomorrow", "{a} tomorrow", "tomorrow {a}"), a=say.ALARM)
        return _request(sampler, template, action("set_alarm", time=canonical, day="tomorrow"), time=spoken)
    template = sampler.template(say.ALARM)
    return _request(sampler, template, action("set_alarm", time=canonical), time=spoken)


def cancel(sampler: Sampler) -> Request:
    what = sampler.choice(("timer", "alarm", "reminder"))
    template = sampler.template(say.CANCEL, x=(f"the {what}", f"my {what}", f"that {what}"))
    return _request(sampler, template, action(f"cancel_{what}"))


def _item(sampler: Sampler) -> str:
    if sampler.chance(_INVENTED_ITEM_SHARE):
        return sampler.invented_word()
    return sampler.choice(words.GROCERIES)


def shopping(sampler: Sampler) -> Request:
    item = _item(sampler)
    wanted = sampler.chance(0.7)
    name = "add_to_list" if wanted else "remove_from_list"
    sampler.combination(name, item)
    if wanted and sampler.chance(0.3):
        template = sampler.template(say.NEED_ITEM)
    else:
        template = sampler.template(say.ADD_TO_LIST if wanted else say.REMOVE_FROM_LIST, l=say.LIST)
    return _request(sampler, template, action(name, item=item), item=item)


def _chore(sampler: Sampler) -> str:
    """What to be reminded of: an everyday chore or one composed of words."""
    slots = {
        "name": sampler.invented_word() if sampler.chance(0.15) else sampler.choice(words.NAMES),
        "item": _item(sampler),
        "room": sampler.choice(tuple(words.ROOMS)),
        "verb": sampler.choice(words.CHORE_VERBS),
        "object": sampler.choice(words.CHORE_OBJECTS),
    }
    if sampler.chance(_EVERYDAY_CHORE_SHARE):
        return sampler.choice(words.CHORES).format(**slots)
    target = sampler.choice((sampler.choice(words.CHORE_OBJECTS), slots["name"], slots["item"]))
    text = f"{sampler.choice(words.CHORE_VERBS)} {target}"
    if sampler.chance(0.35):
        text += " " + sampler.choice(words.CHORE_CIRCUMSTANCES).format(**slots)
    return text


def reminder(sampler: Sampler) -> Request:
    text = _chore(sampler)
    sampler.combination("remind", text)
    when = sampler.integer(0, 9)
    if when < 4:
        return _request(sampler, sampler.template(say.REMIND), action("remind", text=text), text=text)
    if when < 7:
        template = sampler.template(say.REMIND_TOMORROW, r=say.REMIND)
        return _request(sampler, template, action("remind", text=text, day="tomorrow"), text=text)
    spoken, canonical = time_of_day(sampler)
    template = sampler.template(say.REMIND_AT, r=say.REMIND)
    return _request(sampler, template, action("remind", text=text, time=canonical), text=text, time=spoken)


def scene(sampler: Sampler) -> Request:
    if sampler.chance(0.35):
        name = sampler.choice(tuple(say.SCENE_SAYINGS))  # idioms are vocabulary: nothing to hold out
        return _request(sampler, sampler.choice(say.SCENE_SAYINGS[name]), action("set_scene", value=name))
    spoken = sampler.choice(tuple(words.SCENES))
    template = sampler.template(say.SCENE, s=say.SCENE_WORDING)
    return _request(sampler, template, action("set_scene", value=words.SCENES[spoken]), scene=spoken)


def cleaning(sampler: Sampler) -> Request:
    if sampler.chance(0.25):
        return _request(sampler, sampler.template(say.DOCK, v=say.ROBOT), action("dock_vacuum"))
    name, room = _room(sampler)
    template = sampler.template(say.CLEAN)
    sampler.combination("clean", name)
    return _request(sampler, template, action("clean", room=room), room=name)


def status(sampler: Sampler) -> Request:
    if sampler.chance(0.25):
        device = sampler.choice(words.DOORS)
        sampler.combination("status", device)
        template = sampler.template(say.IS_IT_LOCKED, x=say.DOOR_QUESTION)
        return _request(sampler, template, action("get_status", device=device), device=device)
    table = words.LIGHTS if sampler.chance(0.4) else words.APPLIANCES
    target = subject(sampler, table, "status")
    has_room = target.room is not None
    places = [place for place in say.STATUS_DEVICE if ("{room}" in place) == has_room]
    if target.room_apart:
        template = sampler.template(say.IS_IT_ON_IN_ROOM)
    else:
        template = sampler.template(say.IS_IT_ON, x=places)
    answer = action("get_status", device=target.device, room=target.room)
    return _request(sampler, template, answer, **target.spoken)


def temperature_question(sampler: Sampler) -> Request:
    if sampler.chance(0.25):
        return _request(sampler, sampler.template(say.HOW_WARM, where=("",)), action("get_temperature"))
    name, room = _room(sampler)
    sampler.combination("get_temperature", name)
    template = sampler.template(say.HOW_WARM, where=say.IN_ROOM)
    return _request(sampler, template, action("get_temperature", room=room), room=name)


def query(sampler: Sampler) -> Request:
    """Questions about timers, alarms and the list, and emptying the list."""
    name = sampler.choice(tuple(say.QUERIES))
    return _request(sampler, sampler.template(say.QUERIES[name]), action(name))
