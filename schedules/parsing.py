"""TVMScript is parsed without two things that take more time than the parsing.

TVM calls ``inspect.stack`` for every ``@T.prim_func`` and ``inspect.getouterframes`` for every call of a
``@T.inline`` function. Both read the source line of each frame, and look through all loaded modules for
frames that have no file. TVM uses the frames themselves, and lines only to tell functions in classes, of
which schedules have none. And syntax trees are so many small objects that Python looks for cycles again and
again among all that a compilation holds.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def quick_parsing() -> Iterator[None]:
    """In the block, ``inspect`` gives frames without source lines and cycles are not collected."""
    with_lines, collecting = inspect.getouterframes, gc.isenabled()
    inspect.getouterframes = _bare_frames
    gc.disable()
    try:
        yield
    finally:
        inspect.getouterframes = with_lines
        if collecting:
            gc.enable()


def _bare_frames(frame: FrameType | None, context: int = 0) -> list[inspect.FrameInfo]:
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
        frame = frame.f_back
    return frames
