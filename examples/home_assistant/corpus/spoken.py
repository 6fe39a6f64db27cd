"""Numbers, percentages and times of day as people say them."""

from __future__ import annotations

from .sampler import Sampler

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SPOKEN_SHARE = 0.25


def in_words(number: int) -> str:
    """English words of ``number`` in 0..100."""
    if number < 20:
        return _SMALL[number]
    if number == 100:
        return "one hundred"
    tens, ones = divmod(number, 10)
    return _TENS[tens] if ones == 0 else f"{_TENS[tens]} {_SMALL[ones]}"


def number(sampler: Sampler, value: int) -> str:
    """Mostly digits; words where people would use them (up to twenty, and multiples of five)."""
    common_word = value <= 20 or (value <= 100 and value % 5 == 0)
    return in_words(value) if common_word and sampler.chance(_SPOKEN_SHARE) else str(value)


def percentage(sampler: Sampler, value: int) -> str:
    return number(sampler, value) + " percent" if sampler.chance(0.6) else f"{value}%"


def time_of_day(sampler: Sampler) -> tuple[str, str]:
    """A spoken time and the ``HH:MM`` it means; without am, pm or a part of the day it is read as 24 h."""
    hour = sampler.integer(0, 23)
    minute = sampler.choice((0, 0, 0, 15, 30, 30, 45, 5 * sampler.integer(0, 11)))
    sampler.combination("time", hour, minute)
    canonical = f"{hour:02d}:{minute:02d}"
    if sampler.chance(0.3):
        return (f"{hour}:{minute:02d}" if sampler.chance(0.5) else canonical), canonical
    hour_on_dial = hour % 12 or 12
    half = "am" if hour < 12 else "pm"
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    suffix = half if sampler.chance(0.6) else part
    if minute == 0:
        return f"{number(sampler, hour_on_dial)} {suffix}", canonical
    if minute in (15, 30) and sampler.chance(0.4):
        past = "half past" if minute == 30 else "quarter past"
        return f"{past} {number(sampler, hour_on_dial)} {suffix}", canonical
    return f"{hour_on_dial}:{minute:02d} {suffix}", canonical
