"""Folders that appear whole or not at all: made beside their place, in which they are put at the end.

What a killed process left there is removed by the next one that writes to the same place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgebit.errors import EdgebitError

NEW, OLD = "new", "old"


@contextmanager
def replacing(output: Path, failure: type[EdgebitError]) -> Iterator[Path]:
    """A temporary folder beside `output` that takes its place at the end, or vanishes on an error.

    Raises `failure` where nothing can be written there.
    """
    output = output.resolve()
    prefix = f".{output.name}.partial."
    try:
        with parent_folder(output):
            remove_leftovers(output, prefix)
            with (
                tempfile.TemporaryDirectory(
                    prefix=prefix, dir=output.parent, ignore_cleanup_errors=True
                ) as temporary,
                in_use(Path(temporary)),
            ):
                made = Path(temporary) / NEW
                made.mkdir()
                yield made
                swap(made, output, Path(temporary) / OLD)
    except OSError as error:
        raise failure(
            f"{error.filename or output}: {error.strerror or error}; nothing was written"
        ) from error


@contextmanager
def parent_folder(output: Path) -> Iterator[None]:
    """Makes the folders above `output`; those it made go again when the block fails."""
    missing = [folder for folder in output.parents if not folder.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:
            folder.rmdir()
        raise


def swap(made: Path, output: Path, old: Path) -> None:
    """Puts `made` in the place of `output`; what was there goes to `old`, or back on an error."""
    if not output.exists():
        made.rename(output)
        return
    output.rename(old)
    try:
        made.rename(output)
    except BaseException:
        old.rename(output)
        raise


# ---- what a killed process left -------------------------------------------------------------------


@contextmanager
def in_use(folder: Path) -> Iterator[bool]:
    """Locks a folder while the block runs, or this process lives. False: another process has it, or the file
    system knows no locks.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(place)


def remove_leftovers(output: Path, prefix: str) -> None:
    """A folder that nobody writes any more goes. Killed in the midst of `swap`, it holds what was there:
    that is put back. One without NEW may be of a process that has not locked it yet.
    """
    for folder in output.parent.iterdir():
        if not folder.name.startswith(prefix) or not any((folder / name).is_dir() for name in (NEW, OLD)):
            continue
        with in_use(folder) as locked:
            if not locked:
                continue
            if (folder / OLD).is_dir() and not output.exists():
                (folder / OLD).rename(output)
            shutil.rmtree(folder, ignore_errors=True)
