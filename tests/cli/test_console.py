"""Progress on the terminal: one line for each stage, with its time."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgebit.commands.console import StageDisplay, size_text


def display() -> tuple[StageDisplay, io.StringIO]:
    text = io.StringIO()
    return StageDisplay(Console(file=text, width=80)), text


def test_each_finished_stage_is_a_line_with_its_seconds() -> None:
    stages, text = display()
    with stages:
        stages.stage("weights")
        stages.advance(1, 2)
        stages.stage("link [glibc]")
    lines = text.getvalue().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["weights", "link [glibc]"]
    assert all(line.endswith(" s") for line in lines)


def test_the_stage_an_error_ends_is_marked() -> None:
    stages, text = display()
    with pytest.raises(ValueError, match="no"), stages:
        stages.stage("weights")
        raise ValueError("no")
    assert text.getvalue().split() == ["weights", "failed"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1700, "1.7 kB"), (2_900_000, "2.9 MB"), (1_200_000_000, "1.2 GB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
