"""Texts to vectors in a terminal: `python3 BUNDLE/embed.py TEXT ...`, or a text on each line of stdin."""

from __future__ import annotations

import argparse
import sys
from typing import Iterator, Optional, Sequence

from . import load
from .program import run_program


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="embed", description="Print the embedding of each text, a list of numbers in JSON on a line."
    )
    options.add_argument("bundle", help="the bundle folder")
    options.add_argument("text", nargs="*", help="default: each line of stdin")
    options.add_argument("--threads", type=int, metavar="N", help="default: the CPUs worth using")
    return options


def as_json(embedding: Sequence[float]) -> str:
    """A list of numbers: nine digits tell every float32 from all others."""
    return f"[{', '.join(format(value, '.9g') for value in embedding)}]"


def _lines() -> Iterator[str]:
    for line in sys.stdin:
        yield line.rstrip("\r\n")


def run(arguments: Sequence[str]) -> None:
    options = parser().parse_args(arguments)
    with load(options.bundle, options.threads) as model:
        for text in options.text or _lines():
            print(as_json(model.embed([text])[0]), flush=True)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program; its errors are one line on stderr and exit code 1 (EDGEBIT_DEBUG=1: with traceback)."""
    return run_program(run, arguments)
