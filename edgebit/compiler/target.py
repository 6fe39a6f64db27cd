"""Targets: what a bundle is built for, read from the TOML files of edgebit.targets."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edgebit.errors import TargetError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOST = "host"
LARGEST_PAGE = 65536


@dataclass(frozen=True)
class Target:
    """A family of devices one bundle serves."""

    name: str
    description: str
    architecture: str
    machines: tuple[str, ...]  # values of platform.machine() on these devices
    tiers: tuple[str, ...]  # names of edgebit.schedules tiers, best first; the last one needs no CPU feature
    triple: str  # four parts, for TVM
    zig_target: str  # with the oldest glibc that will load the library
    page_size: int  # largest page of any kernel in the family, bytes
    link_flags: tuple[str, ...]
    wheel_tag: str  # platform tag of a wheel for these devices; older names of the same behind dots


def load_target(name: str) -> Target:
    """The target called `name`; "host" is that of this machine. Raises TargetError naming the known ones."""
    if name == HOST:
        return host_target()
    targets = known_targets()
    if name not in targets:
        raise TargetError(f"unknown target {name!r}; known are {', '.join([HOST, *targets])}")
    return targets[name]


def host_target() -> Target:
    """The target that serves the machine this runs on."""
    machine = platform.machine().lower()
    for target in known_targets().values():
        if machine in target.machines:
            return target
    known = ", ".join(known_targets())
    raise TargetError(f"no target serves this machine ({machine or 'unknown'}); choose one of {known}")


@cache
def known_targets() -> Mapping[str, Target]:
    """Every target by name, sorted."""
    files = [entry for entry in resources.files("edgebit.targets").iterdir() if entry.name.endswith(".toml")]
    names = {entry.name.removesuffix(".toml"): entry for entry in files}
    return {name: parse_target(name, names[name].read_text("utf-8")) for name in sorted(names)}


def parse_target(name: str, text: str) -> Target:
    """A Target from the text of `name`.toml. Raises TargetError that names the file and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{name}.toml: not TOML: {error}") from error
    link = table.pop("link", None)
    if not isinstance(link, dict):
        raise TargetError(f"{name}.toml: the table [link] is missing")
    fields = Fields(name, {**table, **{f"link.{key}": value for key, value in link.items()}})
    target = Target(
        name=name,
        description=fields.text("description"),
        architecture=fields.text("architecture"),
        machines=fields.texts("machines"),
        tiers=fields.texts("tiers"),
        triple=fields.text("triple"),
        zig_target=fields.text("link.zig_target"),
        page_size=fields.page_size("link.page_size"),
        link_flags=fields.texts("link.flags", empty=True),
        wheel_tag=fields.text("wheel_tag"),
    )
    fields.refuse_others()
    if target.triple.count("-") != 3:
        raise TargetError(f"{name}.toml: triple {target.triple!r} must have four parts: cpu-vendor-linux-gnu")
    return target


class Fields:
    """Typed reading of one TOML table that remembers which keys were asked for."""

    def __init__(self, name: str, table: dict[str, object]) -> None:
        self.name = name
        self.table = table
        self.read: set[str] = set()

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "a text")
        return value

    def texts(self, key: str, empty: bool = False) -> tuple[str, ...]:
        value = self.value(key)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.wrong(key, value, "a list of texts")
        if not value and not empty:
            raise self.wrong(key, value, "a list of at least one text")
        return tuple(value)

    def page_size(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int) or value not in (4096, 16384, LARGEST_PAGE):
            raise self.wrong(key, value, "4096, 16384 or 65536")
        return value

    def value(self, key: str) -> object:
        self.read.add(key)
        if key not in self.table:
            raise TargetError(f"{self.name}.toml: {key} is missing")
        return self.table[key]

    def wrong(self, key: str, value: object, expected: str) -> TargetError:
        return TargetError(f"{self.name}.toml: {key} is {value!r}, expected {expected}")

    def refuse_others(self) -> None:
        others = sorted(set(self.table) - self.read)
        if others:
            known = ", ".join(sorted(self.read))
            raise TargetError(f"{self.name}.toml: unknown key {others[0]}; known are {known}")
