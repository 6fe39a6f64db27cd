"""How the programs of a bundle end: errors are one line on stderr and exit code 1, never a traceback."""

from __future__ import annotations

import os
import sys
from typing import Callable, Optional, Sequence

from .errors import RuntimeModelError


def run_program(run: Callable[[Sequence[str]], Optional[int]], arguments: Optional[Sequence[str]]) -> int:
    """The exit code of `run(arguments)` (None: those of this process), 0 where it gives none.

    EDGEBIT_DEBUG=1 shows tracebacks.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a replaced stream may have none
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        return run(sys.argv[1:] if arguments is None else arguments) or 0
    except RuntimeModelError as error:
        if os.environ.get("EDGEBIT_DEBUG"):
            raise
        print(f"edgebit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has left; leave quietly, also when Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def show_progress(text: str) -> None:
    """One line that changes, where somebody watches; "" clears it."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)
