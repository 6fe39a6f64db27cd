"""Running the command line in this process."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from edgebit import cli
from tests.cli.results import Result, Run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `edgebit ARGUMENTS` in this process: exit code, stdout, stderr."""
    monkeypatch.delenv("EDGEBIT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["edgebit", *map(str, arguments)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            cli.main()
        code = left.value.code
        captured = capsys.readouterr()
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call
