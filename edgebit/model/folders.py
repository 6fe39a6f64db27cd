"""Folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgebit.errors import EdgebitError


@contextmanager
def replacing(folder: Path, error: type[EdgebitError]) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place at the end, or vanishes if the body fails.

    Raises ``error`` where nothing can be written there.
    """
    folder = folder.resolve()
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    former = folder.with_name(f".{folder.name}.{os.getpid()}.former")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        yield staging
        if folder.exists():
            folder.rename(former)
        staging.rename(folder)
    except OSError as reason:
        raise error(f"{folder}: cannot be written ({reason.strerror or reason})") from None
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
