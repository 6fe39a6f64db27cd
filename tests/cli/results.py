"""What one run of the command line gave."""

from __future__ import annotations

from collections.abc import Callable

Result = tuple[int, str, str]  # exit code, stdout, stderr
Run = Callable[..., Result]


def assert_one_line(result: Result, *words: str) -> None:
    code, out, err = result
    assert (code, out) == (1, "")
    line = err.rstrip("\n").splitlines()[-1]
    assert line.startswith("edgebit: ")
    assert "Traceback" not in err
    for word in words:
        assert word in line
