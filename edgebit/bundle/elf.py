"""Reading of a linked shared library: just what says whether a device can load it (ELF64, little-endian)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MACHINES = {62: "x86_64", 183: "arm64", 243: "riscv64"}
SEGMENT_LOAD, SEGMENT_TLS = 1, 7
FLAG_EXECUTE, FLAG_WRITE = 1, 2
SECTION_DYNAMIC, SECTION_DYNSYM = 6, 11
DYNAMIC_NEEDED = 1
UNDEFINED_SECTION = 0
BIND_WEAK = 2


@dataclass(frozen=True)
class SharedLibrary:
    """What the dynamic loader of a device will look at."""

    architecture: str
    exported: frozenset[str]
    undefined: frozenset[str]  # weak ones are left out: the loader does without them
    needed: frozenset[str]
    alignment: int  # smallest of the load segments, bytes
    has_thread_local_storage: bool
    has_writable_code: bool


@dataclass(frozen=True)
class Section:
    kind: int
    offset: int
    size: int
    link: int


def read_shared_library(image: bytes) -> SharedLibrary:
    """The facts of an ELF64 image. Raises ValueError where it is none or is cut off."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    try:
        return parse(image)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error


def parse(image: bytes) -> SharedLibrary:
    (machine,) = struct.unpack_from("<H", image, 18)
    segments_at, sections_at = struct.unpack_from("<QQ", image, 32)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<4H", image, 54)
    segments = [
        struct.unpack_from("<II6Q", image, segments_at + i * segment_size) for i in range(segment_count)
    ]
    sections = [read_section(image, sections_at + i * section_size) for i in range(section_count)]
    loads = [segment for segment in segments if segment[0] == SEGMENT_LOAD]
    exported, undefined = read_symbols(image, sections)
    return SharedLibrary(
        architecture=MACHINES.get(machine, f"machine {machine}"),
        exported=exported,
        undefined=undefined,
        needed=read_needed(image, sections),
        alignment=min((segment[7] for segment in loads), default=0),
        has_thread_local_storage=any(segment[0] == SEGMENT_TLS for segment in segments),
        has_writable_code=any(segment[1] & FLAG_EXECUTE and segment[1] & FLAG_WRITE for segment in loads),
    )


def read_section(image: bytes, at: int) -> Section:
    _, kind, _, _, offset, size, link, _, _, _ = struct.unpack_from("<IIQQQQIIQQ", image, at)
    return Section(kind, offset, size, link)


def read_symbols(image: bytes, sections: list[Section]) -> tuple[frozenset[str], frozenset[str]]:
    exported: set[str] = set()
    undefined: set[str] = set()
    for section in sections:
        if section.kind != SECTION_DYNSYM:
            continue
        names = sections[section.link]
        for at in range(section.offset + 24, section.offset + section.size, 24):  # the first symbol is empty
            name, info, _, index, _, _ = struct.unpack_from("<IBBHQQ", image, at)
            text = read_name(image, names, name)
            if index != UNDEFINED_SECTION:
                exported.add(text)
            elif info >> 4 != BIND_WEAK:
                undefined.add(text)
    return frozenset(exported), frozenset(undefined)


def read_needed(image: bytes, sections: list[Section]) -> frozenset[str]:
    needed: set[str] = set()
    for section in sections:
        if section.kind != SECTION_DYNAMIC:
            continue
        for at in range(section.offset, section.offset + section.size, 16):
            tag, value = struct.unpack_from("<qQ", image, at)
            if tag == DYNAMIC_NEEDED:
                needed.add(read_name(image, sections[section.link], value))
    return frozenset(needed)


def read_name(image: bytes, names: Section, at: int) -> str:
    start = names.offset + at
    end = image.index(b"\0", start, names.offset + names.size)
    return image[start:end].decode("ascii")
