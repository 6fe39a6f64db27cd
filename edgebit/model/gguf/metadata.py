"""The key-value pairs of a GGUF file, read by the type that is expected of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from edgebit.errors import ConfigError

Value = str | int | float | bool | list[str] | npt.NDArray[Any]


@dataclass(frozen=True)
class Metadata:
    """``source`` is the file, for messages. Readers raise ConfigError naming the key and what it is."""

    source: str
    values: Mapping[str, Value]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, value, "an integer")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, value, "a number")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, value, "text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.error(key, value, "an array of texts")
        return value

    def error(self, key: str, value: Any, expected: str) -> ConfigError:
        if value is None:
            return ConfigError(f"{self.source}: {key} is missing")
        found = f"{value!r}"[:60] if isinstance(value, str | int | float) else "an array"
        return ConfigError(f"{self.source}: {key} is {found}, expected {expected}")
