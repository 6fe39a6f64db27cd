"""Talking to a model in a terminal: `python3 BUNDLE/chat.py`, or `python -m edgebit_runtime BUNDLE`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any, Dict, List, Optional, Sequence

from . import load
from .engine import TASK_GENERATE
from .errors import RuntimeModelError
from .model import Model
from .program import parser_of, run_program

HELP = """\
/reset  forget the conversation
/help   this list
/exit   leave (or Ctrl-D)
Ctrl-C stops an answer."""


def parser(bundle: Optional[str] = None) -> argparse.ArgumentParser:
    options = parser_of("chat", "Talk to the model of a bundle.", bundle)
    options.add_argument("-p", "--prompt", metavar="TEXT", help="answer this message and leave")
    options.add_argument("--system", metavar="TEXT", help="instruction in front of the conversation")
    options.add_argument("--max-tokens", type=int, metavar="N", help="longest answer; default: no limit")
    options.add_argument("--temperature", type=float, default=0.0, metavar="T", help="default 0: no chance")
    options.add_argument("--top-k", type=int, default=0, metavar="K", help="default 0: all tokens")
    options.add_argument("--top-p", type=float, default=1.0, metavar="P", help="default 1: all tokens")
    options.add_argument("--min-p", type=float, default=0.0, metavar="P", help="default 0: all tokens")
    options.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    options.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end answers before this; may be repeated"
    )
    options.add_argument(
        "--no-speculation", action="store_true", help="never try several tokens at once; the text is the same"
    )
    options.add_argument("--threads", type=int, metavar="N", help="default: the CPUs worth using")
    options.add_argument(
        "--verify", action="store_true", help="check every byte of the bundle first, as EDGEBIT_VERIFY=1 does"
    )
    options.add_argument("--stats", action="store_true", help="show tokens per second after each answer")
    return options


class Chat:
    """A conversation: messages so far and how answers are made."""

    def __init__(self, model: Model, options: argparse.Namespace) -> None:
        self._model = model
        self._settings: Dict[str, Any] = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_k": options.top_k,
            "top_p": options.top_p,
            "min_p": options.min_p,
            "seed": options.seed,
            "stop": options.stop,
            "speculate": not options.no_speculation,
        }
        self._system = options.system
        self._show_stats = options.stats
        self.reset()

    def reset(self) -> None:
        self._messages = [{"role": "system", "content": self._system}] if self._system else []

    def answer(self, text: str) -> None:
        """Prints the answer as it comes. Ctrl-C ends it there; an error takes the message back."""
        self._messages.append({"role": "user", "content": text})
        pieces: List[str] = []
        try:
            for piece in self._model.chat(self._messages, **self._settings):
                pieces.append(piece)
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" ...", end="")
        except RuntimeModelError:
            del self._messages[-1]
            if pieces:
                print()
            raise
        print(flush=True)
        self._messages.append({"role": "assistant", "content": "".join(pieces)})
        if self._show_stats:
            print(self._model.stats, file=sys.stderr)

    def converse(self) -> None:
        """Reads messages until Ctrl-D or /exit."""
        terminal = sys.stdin.isatty()
        if terminal:
            print("/help shows the commands.")
        while True:
            line = read_line("> " if terminal else "")
            if line is None or line == "/exit":
                return
            if line == "/reset":
                self.reset()
            elif line == "/help":
                print(HELP)
            elif line.startswith("/") and " " not in line:
                print(f"{line} is not a command; /help shows them", file=sys.stderr)
            elif line:
                try:
                    self.answer(line)
                except RuntimeModelError as error:
                    if not terminal:
                        raise
                    print(f"{error} (/reset begins again)", file=sys.stderr)


def read_line(prompt: str) -> Optional[str]:
    """One line without surrounding blanks; None at the end of the input. Ctrl-C empties the line."""
    try:
        return input(prompt).strip()
    except KeyboardInterrupt:
        print()
        return ""
    except EOFError:
        if prompt:
            print()
        return None


def run(options: argparse.Namespace) -> None:
    with load(options.bundle, options.threads, options.verify) as model:
        model.require_task(TASK_GENERATE)
        chat = Chat(model, options)
        if options.prompt is not None:
            chat.answer(options.prompt)
        else:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - line editing and history in input(), where Python has it
            chat.converse()


def main(arguments: Optional[Sequence[str]] = None, bundle: Optional[str] = None) -> int:
    """The program, for the folder `bundle` or the one that its first argument names.

    arguments None: those of this process. Errors are one line on stderr and exit code 1.
    """
    return run_program(lambda: run(parser(bundle).parse_args(arguments)))
