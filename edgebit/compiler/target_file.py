"""Typed reading of the TOML file of a target.

| Key | What it says |
|---|---|
| `description` | the devices it serves, for people |
| `inherits` | name of a target whose keys hold where this file is silent |
| `architecture` | x86_64, arm64, armv7 or riscv64 |
| `machines` | values of platform.machine() on these devices |
| `tiers` | CPU tiers the library holds kernels for, best first; leaving some out saves bytes |
| `tune` | processor whose timing code is scheduled for; never changes which instructions are used |
| `triple` | of LLVM, four parts |
| `libc` | glibc, musl or bionic |
| `threads` | what is known about threads there, for people |
| `wheel_tag` | platform tag of a wheel |
| `link.zig_target`, `link.page_size`, `link.flags` | for the linker |
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from edgebit.errors import TargetError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_PAGE = 65536
Table = dict[str, Any]


def read_table(name: str, text: str) -> Table:
    """The keys of a file, those of its table [link] as link.KEY. Raises TargetError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{name}.toml: not TOML: {error}") from error
    link = table.pop("link", {} if "inherits" in table else None)
    if not isinstance(link, dict):
        raise TargetError(f"{name}.toml: the table [link] is missing")
    return {**table, **{f"link.{key}": value for key, value in link.items()}}


class Fields:
    """One table, remembering which keys were asked for."""

    def __init__(self, name: str, table: Table) -> None:
        self.name = name
        self.table = table
        self.read: set[str] = set()

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "a text")
        return value

    def optional_text(self, key: str) -> str | None:
        self.read.add(key)
        return self.text(key) if key in self.table else None

    def one_of(self, key: str, known: Sequence[str]) -> str:
        value = self.text(key)
        if value not in known:
            raise self.wrong(key, value, f"one of {', '.join(known)}")
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
