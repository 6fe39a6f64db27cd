"""What long work reports to whoever asked for it: library code prints nothing, it names its stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """One stage at a time: `stage` closes the one before, `advance` says how far it is, `done` ends it."""

    def stage(self, name: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def done(self) -> None: ...


class Silent:
    """The Progress of callers who do not look."""

    def stage(self, name: str) -> None:
        pass

    def advance(self, done: int, total: int) -> None:
        pass

    def done(self) -> None:
        pass


@contextmanager
def reporting(progress: Progress | None) -> Iterator[Progress]:
    """The given Progress or a silent one, closed at the end whatever happens."""
    reporter = progress if progress is not None else Silent()
    try:
        yield reporter
    finally:
        reporter.done()
