"""Python threads at one open model take turns: a session belongs to one thread at a time (edgebit.h)."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any, Callable, TypeVar
from weakref import WeakSet

Method = TypeVar("Method", bound=Callable[..., Any])


class Turn:
    """``with turn.lock:`` waits for other threads; a thread that has the turn may take it again."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _turns.add(self)


_turns: WeakSet[Turn] = WeakSet()


def _in_a_forked_child() -> None:
    """The thread that had a turn is not there to give it back, and the library refuses the session."""
    for turn in _turns:
        turn.lock = threading.RLock()


os.register_at_fork(after_in_child=_in_a_forked_child)


def in_turn(method: Method) -> Method:
    """A method of what has a `turn`, called by one thread at a time."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with self.turn.lock:
            return method(self, *arguments, **named)

    return call  # type: ignore[return-value]
