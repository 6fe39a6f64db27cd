"""Objects of kernels and of the runtime, kept from one compilation to the next: making them takes a third of
its CPU time.

An object of a kernel depends on the kernel, the tier, the triple, the schedules and TVM alone. Schedules and
TVM name the generation, a folder of files that are named by the rest; a file begins with the SHA-256 of its
object, so that a damaged one is made again. ``EDGEBIT_NO_CACHE=1`` keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from edgebit import schedules
from edgebit.user_cache import user_cache

MOST_GENERATIONS = 4
_DIGEST_BYTES = 32


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """The object called ``name``, which says everything it depends on but the generation."""
    folder = None if os.environ.get("EDGEBIT_NO_CACHE", "") not in ("", "0") else _folder()
    if folder is None:
        return make()
    path = folder / hashlib.sha256(name.encode()).hexdigest()
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def generation() -> str:
    """Of the schedules in use and their TVM."""
    digest = hashlib.sha256()
    for package in ("apache-tvm", "apache-tvm-ffi"):
        digest.update(f"{package} {version(package)}\n".encode())
    (root,) = schedules.__path__
    for path in sorted(Path(root).glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@cache
def _folder() -> Path | None:
    base = user_cache("kernels")
    if base is None:
        return None
    folder = base / generation()
    try:
        folder.mkdir(exist_ok=True)
        by_age = sorted(base.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return None
    for path in by_age[MOST_GENERATIONS:]:
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)
    return folder


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, found = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return found if hashlib.sha256(found).digest() == digest else None


def _write(path: Path, made: bytes) -> None:
    """Whole or not at all; where it cannot be kept, it is not."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(made).digest() + made)
    except OSError:
        return
    try:
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
