"""Static memory: every buffer of the arena gets an offset once, at compile time; nothing is allocated while
running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgebit.compiler.plan import ALIGNMENT


def align(size: int, to: int = ALIGNMENT) -> int:
    return -(-size // to) * to


@dataclass
class Buffer:
    """A buffer of ``size`` bytes that is written first at step ``first`` and used last at step ``last``."""

    name: str
    size: int
    first: int = -1
    last: int = -1
    offset: int = field(default=-1, init=False)

    def touch(self, step: int) -> None:
        if self.first < 0:
            self.first = step
        self.last = max(self.last, step)


def place(buffers: Sequence[Buffer]) -> int:
    """Give each buffer the lowest offset that no buffer alive at the same time covers; returns the arena's
    size.

    Larger buffers are placed first, which keeps the holes small; ties keep their order, so that the result is
    deterministic.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: -b.size):
        offset = 0
        for other in sorted(placed, key=lambda b: b.offset):
            overlap_in_time = other.first <= buffer.last and buffer.first <= other.last
            if (
                overlap_in_time
                and offset < other.offset + align(other.size)
                and other.offset < offset + align(buffer.size)
            ):
                offset = other.offset + align(other.size)
        buffer.offset = offset
        placed.append(buffer)
    return max((b.offset + align(b.size) for b in placed), default=0)
