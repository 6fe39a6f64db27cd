"""The matrix of devices as a Markdown table behind the results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

HEADINGS = ("device", "processor", "bundle", "run by", "kernels", "self-test")
PROPERTY = "device"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = sorted(_rows(terminalreporter))
    if not rows:
        return
    terminalreporter.section("devices")
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row for _, row in rows)]
    for line in lines:
        terminalreporter.write_line(f"| {' | '.join(line)} |")


def _rows(reporter: pytest.TerminalReporter) -> Iterator[tuple[int, tuple[str, ...]]]:
    """What the tests of the matrix noted, by the place in it; also from other processes."""
    for outcome in ("passed", "failed"):
        for report in reporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY and report.when == "call":
                    place, *cells = value
                    yield place, (*cells, outcome)
