"""Texts to vectors in a terminal: `python3 BUNDLE/embed.py TEXT ...`, or a text on each line of stdin."""

from __future__ import annotations

import argparse
import sys
from typing import Iterator, Optional, Sequence

from . import load
from .program import parser_of, run_program


def parser(bundle: Optional[str] = None) -> argparse.ArgumentParser:
    description = "Print the embedding of each text, a list of numbers in JSON on a line."
    options = parser_of("embed", description, bundle)
    options.add_argument("text", nargs="*", help="default: each line of stdin")
    options.add_argument("--threads", type=int, metavar="N", help="default: the CPUs worth using")
    return options


def as_json(embedding: Sequence[float]) -> str:
    """A list of numbers: nine digits tell every float32 from all others."""
    return f"[{', '.join(format(value, '.9g') for value in embedding)}]"


def _lines() -> Iterator[str]:
    for line in sys.stdin:
        yield line.rstrip("\r\n")


def run(options: argparse.Namespace) -> None:
    with load(options.bundle, options.threads) as model:
        for text in options.text or _lines():
            print(as_json(model.embed([text])[0]), flush=True)


def main(arguments: Optional[Sequence[str]] = None, bundle: Optional[str] = None) -> int:
    """The program, for the folder `bundle` or the one that its first argument names.

    arguments None: those of this process. Errors are one line on stderr and exit code 1.
    """
    return run_program(lambda: run(parser(bundle).parse_args(arguments)))
