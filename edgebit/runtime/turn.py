"""Python threads at one open model take turns: a session belongs to one thread at a time (edgebit.h)."""

from __future__ import annotations

import functools
import os
import threading
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


class Turn:
    """``with turn:`` waits for other threads; a thread that has the turn may take it again.

    In a forked child nobody waits: the thread that had the turn is not there to give it back, and the library
    refuses the session.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()

    def __enter__(self) -> None:
        if os.getpid() == self._process:
            self._lock.acquire()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if os.getpid() == self._process:
            self._lock.release()


def in_turn(method: Method) -> Method:
    """A method of what has a `turn`, called by one thread at a time."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with self.turn:
            return method(self, *arguments, **named)

    return call  # type: ignore[return-value]
