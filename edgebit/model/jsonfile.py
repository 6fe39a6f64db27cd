"""Read the JSON of a model's files, with every surprise named.

A file may be hostile: a few megabytes of "[],[],…" become gigabytes of lists. So bytes and values are counted
before anything is parsed; the limits are above every tokenizer known (Gemma's: 33 MB, two million values). A
key that is there twice has two meanings, and is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from edgebit.errors import ConfigError, EdgebitError
from edgebit.model.foreign import git_lfs_pointer

_MOST_BYTES = 1 << 26
_MOST_VALUES = 6_000_000
_QUOTED = 60  # characters of a value in a message


def read_json(path: Path, error: type[EdgebitError] = ConfigError) -> dict[str, Any]:
    """The object in ``path``. Raises ``error`` if it is unreadable, not JSON, or not an object."""
    return _object_of(read_json_value(path, error), str(path), error)


def parse_json(content: bytes, what: str, error: type[EdgebitError] = ConfigError) -> dict[str, Any]:
    """The object that ``content`` is; ``what`` begins the message of an ``error``."""
    return _object_of(parse_json_value(content, what, error), what, error)


def read_json_value(path: Path, error: type[EdgebitError] = ConfigError) -> Any:
    """What ``path`` holds, of any kind."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise error(f"{path}: {size} bytes, expected at most {_MOST_BYTES}; download the file again")
        content = path.read_bytes()
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    pointer = git_lfs_pointer(content)
    if pointer is not None:
        raise error(f"{path}: {pointer}")
    return parse_json_value(content, str(path), error)


def parse_json_value(content: bytes, what: str, error: type[EdgebitError] = ConfigError) -> Any:
    """What ``content`` is, of any kind."""
    values = sum(map(content.count, (b"[", b"{", b",")))
    if values > _MOST_VALUES:
        raise error(f"{what}: about {values} values, expected at most {_MOST_VALUES}; it is damaged")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as reason:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise error(f"{what}: not valid JSON ({reason}); download the file again") from None


def read_optional_json(path: Path, error: type[EdgebitError] = ConfigError) -> dict[str, Any] | None:
    """The object in ``path``, None if there is no such file."""
    return read_json(path, error) if path.is_file() else None


def quoted(value: Any) -> str:
    """A value as a message shows it: cut, whatever its length."""
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _object_of(value: Any, what: str, error: type[EdgebitError]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise error(f"{what}: holds a {type(value).__name__}, expected a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {quoted(twice)} is there twice")
    return made
