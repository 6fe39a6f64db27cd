"""Tables that programs print, and that other printers can lay out their own way; and numbers as words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the columns in `left` begin at the left, numbers end at the right."""

    title: str
    columns: Tuple[str, ...]
    rows: Sequence[Tuple[str, ...]]
    left: Tuple[int, ...] = (0,)


def text_of(table: Table) -> str:
    """The table in columns, without lines."""
    rows = [table.columns, *table.rows] if any(table.columns) else table.rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [table.title] if table.title else []
    return "\n".join([*lines, *(_line(row, widths, table.left) for row in rows)])


def _line(row: Tuple[str, ...], widths: Sequence[int], left: Sequence[int]) -> str:
    cells = [f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)]
    return "  ".join(cells).rstrip()


def size_text(size: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size / 1e3:.1f} kB"


def threads_text(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
