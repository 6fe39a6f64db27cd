"""EDGEBIT_DEBUG: every layer can be looked at. 1 tracebacks, 2 the fused graph and the plan, 3 schedules, 4
assembly (stderr).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

LEVEL_GRAPH = 2
LEVEL_SCHEDULE = 3
LEVEL_CODE = 4


def debug_level() -> int:
    """The number in EDGEBIT_DEBUG; 0 when it is unset, 1 when it is not a number."""
    text = os.environ.get("EDGEBIT_DEBUG", "")
    if not text:
        return 0
    return int(text) if text.isdecimal() else 1


def show(level: int, title: str, text: Callable[[], str]) -> None:
    """Write ``text()`` to stderr when EDGEBIT_DEBUG asks for this level."""
    if debug_level() >= level:
        sys.stderr.write(f"==== {title} ====\n{text()}\n")
