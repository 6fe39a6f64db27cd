"""Typed access to the entries of a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.jsonfile import quoted

_LARGEST = (1 << 31) - 1  # nothing of a model is counted beyond
_BEYOND = 1e15  # what no epsilon, base or factor comes near


class Entries:
    """``values`` of the file ``source``; readers raise ConfigError naming the key and what it is."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        self.source = source
        self.values = values

    def error(self, message: str) -> ConfigError:
        return ConfigError(f"{self.source}: {message}")

    def size(self, key: str, default: int | None = None, most: int = _LARGEST) -> int:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
            raise self.error(f"{key} is {quoted(value)}, expected a positive integer up to {most}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{key} is {quoted(value)}, expected true or false")
        return value

    def names(self, key: str) -> list[str]:
        """A list of texts, empty where there is none."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self.error(f"{key} is {quoted(value)}, expected a list of names")
        return value

    def positive(self, key: str, value: Any) -> float:
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _BEYOND:
            raise self.error(f"{key} is {quoted(value)}, expected a positive number below {_BEYOND:g}")
        return float(value)

    def object(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self.error(f"{key} is {quoted(value)}, expected an object")
        return value
