"""The one printer of the command line: answers on stdout, progress and errors on stderr."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType

from rich.console import Console
from rich.status import Status

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)

STAGE_WIDTH = 24


class StageDisplay:
    """A Progress that leaves one line for each finished stage with the time it took.

    On a terminal the current stage spins and shows how far it is.
    """

    def __init__(self, console: Console = ERR) -> None:
        self.console = console
        self.status = Status("", console=console)
        self.current: str | None = None
        self.started = self.stage_started = perf_counter()

    def __enter__(self) -> StageDisplay:
        self.started = perf_counter()
        self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish("failed" if kind else None)
        self.status.stop()

    def stage(self, name: str) -> None:
        self.finish(None)
        self.current = name
        self.stage_started = perf_counter()
        self.status.update(f"{name} …")

    def advance(self, done: int, total: int) -> None:
        self.status.update(f"{self.current} … {done / max(total, 1):.0%}")

    def finish(self, outcome: str | None) -> None:
        if self.current is not None:
            spent = outcome or f"{perf_counter() - self.stage_started:6.2f} s"
            self.console.print(f"  {self.current:<{STAGE_WIDTH}}{spent:>9}", markup=False)
        self.current = None

    @property
    def seconds(self) -> float:
        return perf_counter() - self.started


def size_text(size: int) -> str:
    """A number of bytes for people: 512 B, 1.7 kB, 2.9 MB, 1.2 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
