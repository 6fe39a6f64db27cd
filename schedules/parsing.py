"""TVMScript is parsed without what takes more time than the parsing.

TVM calls ``inspect.stack`` for every ``@T.prim_func`` and ``inspect.getouterframes`` for every call of a
``@T.inline`` function. Both read the source line of each frame, and look through all loaded modules for
frames that have no file. TVM uses the frames themselves, and lines only to tell functions in classes, of
which schedules have none. It splits a file into tokens to find where a function ends, and parses the function
anew for every tier and epilogue, and once more to check what came of it. Every expression gets its place in
the text, of which kernels keep nothing. And syntax trees are so many small objects that Python looks for
cycles again and again among all that a compilation holds.
"""

from __future__ import annotations

import gc
import inspect
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import FrameType
from typing import Any

Substitute = tuple[object, str, Callable[..., Any]]


@contextmanager
def quick_parsing() -> Iterator[None]:
    """In the block TVM parses as said above: ``inspect`` gives frames without source lines, expressions have
    no spans, cycles are not collected.
    """
    substitutes, collecting = _substitutes(), gc.isenabled()
    before = [getattr(owner, name) for owner, name, _ in substitutes]
    gc.disable()
    try:
        for owner, name, function in substitutes:
            setattr(owner, name, function)
        yield
    finally:
        for (owner, name, _), function in zip(substitutes, before, strict=True):
            setattr(owner, name, function)
        if collecting:
            gc.enable()


@cache
def _substitutes() -> tuple[Substitute, ...]:
    """What stands in for a function of an owner."""
    from tvm.script.parser.core import doc
    from tvm.script.parser.core.parser import Parser

    find_block, parse = inspect.getblock, doc.parse

    @cache
    def known_block(lines: tuple[str, ...]) -> Sequence[str]:
        return find_block(lines)

    def block(lines: Sequence[str]) -> Sequence[str]:
        return known_block(tuple(lines))

    @cache
    def pickled_tree(source: str) -> bytes:
        return pickle.dumps(parse(source))

    def tree(source: str) -> object:
        """A new one: TVM takes decorators out of it."""
        return pickle.loads(pickled_tree(source))

    return (
        (inspect, "getouterframes", _bare_frames),
        (inspect, "getblock", block),
        (doc, "parse", tree),
        (doc, "_is_atomic_type", _is_atomic),
        (Parser, "with_source_span", _without_span),
    )


def _bare_frames(frame: FrameType | None, context: int = 0) -> list[inspect.FrameInfo]:
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
        frame = frame.f_back
    return frames


_ATOMS = frozenset({type(None), type(...), bool, int, float, complex, str, bytes})


def _is_atomic(node: object) -> bool:
    """Whether a part of a syntax tree is no tree; TVM compares it with constants first."""
    return type(node) in _ATOMS


def _without_span(parser: object, node: object) -> AbstractContextManager[None]:
    return nullcontext()
