"""Read the JSON files of a checkpoint folder, with every surprise named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgebit.errors import ConfigError, EdgebitError


def read_json(path: Path, error: type[EdgebitError] = ConfigError) -> dict[str, Any]:
    """The object in ``path``. Raises ``error`` if it is unreadable, not JSON, or not an object."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except (ValueError, RecursionError) as reason:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise error(f"{path}: not valid JSON ({reason}); download the file again") from None
    if not isinstance(value, dict):
        raise error(f"{path}: holds a {type(value).__name__}, expected a JSON object")
    return value


def read_optional_json(path: Path, error: type[EdgebitError] = ConfigError) -> dict[str, Any] | None:
    """The object in ``path``, None if there is no such file."""
    return read_json(path, error) if path.is_file() else None
