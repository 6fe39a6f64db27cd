"""What the file libmodel.so says of itself before anything is loaded: page alignment, and which libc."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

LOAD = 1  # kind of a segment
GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")


@dataclass(frozen=True)
class LibraryFacts:
    """`alignment`: the smallest of the segments, bytes; `glibc`: the oldest release that has all symbols,
    None for a library of another libc.
    """

    alignment: int
    glibc: Optional[Tuple[int, int]]


def read_library(path: Path) -> LibraryFacts:
    """Facts of an ELF file. Raises ValueError where it is none or is cut off, OSError."""
    image = path.read_bytes()
    if image[:4] != b"\x7fELF" or image[4:6] not in (b"\x01\x01", b"\x02\x01"):
        raise ValueError("no little-endian ELF file")
    versions = [(int(major), int(minor)) for major, minor in GLIBC.findall(image)]
    try:
        return LibraryFacts(_alignment(image), max(versions, default=None))
    except struct.error as error:
        raise ValueError(f"a damaged ELF file: {error}") from error


def _alignment(image: bytes) -> int:
    """The field places are those of Elf32_Ehdr and Elf32_Phdr, or of Elf64_*."""
    wide = image[4] == 2
    (start,) = struct.unpack_from("<Q" if wide else "<I", image, 32 if wide else 28)
    size, count = struct.unpack_from("<2H", image, 54 if wide else 42)
    places = [start + i * size for i in range(count)]
    loads = [place for place in places if struct.unpack_from("<I", image, place)[0] == LOAD]
    form, offset = ("<Q", 48) if wide else ("<I", 28)
    return min((struct.unpack_from(form, image, place + offset)[0] for place in loads), default=0)
