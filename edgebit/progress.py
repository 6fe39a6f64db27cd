"""What long work reports to whoever asked for it: library code prints nothing, it names its stages."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One stage at a time: `stage` begins the next one, `advance` says how far it is (in any unit)."""

    def stage(self, name: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...


class Silent:
    """The Progress of callers who do not look."""

    def stage(self, name: str) -> None:
        pass

    def advance(self, done: int, total: int) -> None:
        pass


SILENT = Silent()
