"""Typed access to the entries of a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgebit.errors import ConfigError


class Entries:
    """``values`` of the file ``source``; readers raise ConfigError naming the key and what it is."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        self.source = source
        self.values = values

    def error(self, message: str) -> ConfigError:
        return ConfigError(f"{self.source}: {message}")

    def size(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self.error(f"{key} is {value!r}, expected a positive integer")
        return value

    def positive(self, key: str, value: Any) -> float:
        if value is None:
            raise self.error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(f"{key} is {value!r}, expected a positive number")
        return float(value)

    def object(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self.error(f"{key} is {value!r}, expected an object")
        return value
