"""What the programs of a bundle share: which bundle they are for, and how they end."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Callable, Optional

from .errors import RuntimeModelError


def parser_of(name: str, description: str, bundle: Optional[str]) -> argparse.ArgumentParser:
    """The options of a program that lies in the folder `bundle`; None: its first argument names one."""
    program = f"{name}.py" if bundle else f"edgebit {name}"
    options = argparse.ArgumentParser(prog=program, description=description)
    if bundle is None:
        options.add_argument("bundle", help="the bundle folder")
    else:
        options.set_defaults(bundle=bundle)
    return options


def run_program(run: Callable[[], Optional[int]]) -> int:
    """The exit code of `run()`, 0 where it gives none; an error is one line on stderr and exit code 1.

    EDGEBIT_DEBUG=1 shows tracebacks.
    """
    _prepare_streams()
    try:
        code = run() or 0
        sys.stdout.flush()
        return code
    except RuntimeModelError as error:
        return _wrong(str(error), error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has left: leave quietly
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        where = f"{error.filename} cannot be used" if error.filename else "the output cannot be written"
        return _wrong(f"{where}: {error.strerror or error}", error)


def _prepare_streams() -> None:
    """What cannot be encoded or decoded is replaced; a stream that is closed is empty, as /dev/null is."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - lives as long as the process
            continue
        reconfigure = getattr(stream, "reconfigure", None)  # a replaced stream may have none
        if reconfigure is not None:
            reconfigure(errors="replace")


def _discard_output() -> None:
    """What is still to be written goes nowhere, also when Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong(sentence: str, error: BaseException) -> int:
    if os.environ.get("EDGEBIT_DEBUG"):
        raise error
    print(f"edgebit: {sentence}", file=sys.stderr)
    return 1


def show_progress(text: str) -> None:
    """One line that changes, where somebody watches; "" clears it."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)
