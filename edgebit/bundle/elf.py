"""Reading of a linked ELF file: what says whether a device can load it (32 and 64 bits, little-endian)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MACHINES = {40: "armv7", 62: "x86_64", 183: "arm64", 243: "riscv64"}
SEGMENT_LOAD, SEGMENT_DYNAMIC, SEGMENT_INTERPRETER, SEGMENT_TLS = 1, 2, 3, 7
FLAG_EXECUTE, FLAG_WRITE = 1, 2
SECTION_DYNAMIC, SECTION_DYNSYM, SECTION_VERSIONS_NEEDED = 6, 11, 0x6FFFFFFE
DYNAMIC_NEEDED = 1
UNDEFINED_SECTION = 0
BIND_WEAK = 2


@dataclass(frozen=True)
class ElfFile:
    """What the dynamic loader of a device, or its kernel, will look at."""

    architecture: str
    exported: frozenset[str]
    undefined: frozenset[str]  # weak ones are left out: the loader does without them
    needed: frozenset[str]
    versions: frozenset[str]  # of symbols of other libraries, such as GLIBC_2.17
    alignment: int  # smallest of the load segments, bytes
    has_interpreter: bool
    has_thread_local_storage: bool
    has_writable_code: bool


@dataclass(frozen=True)
class Layout:
    """Where the fields of a class of ELF files lie."""

    header: str  # e_phoff, e_shoff behind the entry point
    header_at: int
    counts_at: int  # e_phentsize
    segment: str
    segment_flags: int  # field numbers
    segment_alignment: int
    section: str
    symbol: str
    symbol_fields: tuple[int, int, int]  # name, info, section index
    dynamic: str


LAYOUTS = {
    1: Layout("<II", 28, 42, "<8I", 6, 7, "<10I", "<IIIBBH", (0, 3, 5), "<iI"),
    2: Layout("<QQ", 32, 54, "<II6Q", 1, 7, "<IIQQQQIIQQ", "<IBBHQQ", (0, 1, 3), "<qQ"),
}


@dataclass(frozen=True)
class Section:
    kind: int
    offset: int
    size: int
    link: int
    count: int  # of entries, where the kind has some


def read_elf(image: bytes) -> ElfFile:
    """The facts of an ELF image. Raises ValueError where it is none or is cut off."""
    if image[:4] != b"\x7fELF" or image[4:5] not in (b"\x01", b"\x02") or image[5:6] != b"\x01":
        raise ValueError("not a little-endian ELF file")
    try:
        return parse(image, LAYOUTS[image[4]])
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error


def parse(image: bytes, layout: Layout) -> ElfFile:
    (machine,) = struct.unpack_from("<H", image, 18)
    segments_at, sections_at = struct.unpack_from(layout.header, image, layout.header_at)
    segment_size, segment_count, section_size, section_count = struct.unpack_from(
        "<4H", image, layout.counts_at
    )
    segments = [
        struct.unpack_from(layout.segment, image, segments_at + i * segment_size)
        for i in range(segment_count)
    ]
    sections = [read_section(image, layout, sections_at + i * section_size) for i in range(section_count)]
    loads = [segment for segment in segments if segment[0] == SEGMENT_LOAD]
    flags = [segment[layout.segment_flags] for segment in loads]
    exported, undefined = read_symbols(image, layout, sections)
    return ElfFile(
        architecture=MACHINES.get(machine, f"machine {machine}"),
        exported=exported,
        undefined=undefined,
        needed=read_needed(image, layout, sections),
        versions=read_versions(image, sections),
        alignment=min((segment[layout.segment_alignment] for segment in loads), default=0),
        has_interpreter=any(segment[0] == SEGMENT_INTERPRETER for segment in segments),
        has_thread_local_storage=any(segment[0] == SEGMENT_TLS for segment in segments),
        has_writable_code=any(flag & FLAG_EXECUTE and flag & FLAG_WRITE for flag in flags),
    )


def read_section(image: bytes, layout: Layout, at: int) -> Section:
    _, kind, _, _, offset, size, link, info, _, _ = struct.unpack_from(layout.section, image, at)
    return Section(kind, offset, size, link, info)


def read_symbols(
    image: bytes, layout: Layout, sections: list[Section]
) -> tuple[frozenset[str], frozenset[str]]:
    exported: set[str] = set()
    undefined: set[str] = set()
    size = struct.calcsize(layout.symbol)
    for section in sections:
        if section.kind != SECTION_DYNSYM:
            continue
        names = sections[section.link]
        # The first symbol is empty.
        for at in range(section.offset + size, section.offset + section.size, size):
            fields = struct.unpack_from(layout.symbol, image, at)
            name, info, index = (fields[i] for i in layout.symbol_fields)
            text = read_name(image, names, name)
            if index != UNDEFINED_SECTION:
                exported.add(text)
            elif info >> 4 != BIND_WEAK:
                undefined.add(text)
    return frozenset(exported), frozenset(undefined)


def read_needed(image: bytes, layout: Layout, sections: list[Section]) -> frozenset[str]:
    needed: set[str] = set()
    for section in sections:
        if section.kind != SECTION_DYNAMIC:
            continue
        for at in range(section.offset, section.offset + section.size, struct.calcsize(layout.dynamic)):
            tag, value = struct.unpack_from(layout.dynamic, image, at)
            if tag == DYNAMIC_NEEDED:
                needed.add(read_name(image, sections[section.link], value))
    return frozenset(needed)


def read_versions(image: bytes, sections: list[Section]) -> frozenset[str]:
    """Names in .gnu.version_r: a list of files, of each a list of versions."""
    versions: set[str] = set()
    for section in sections:
        if section.kind != SECTION_VERSIONS_NEEDED:
            continue
        at = section.offset
        for _ in range(section.count):
            _, count, _, first, following = struct.unpack_from("<HHIII", image, at)
            version_at = at + first
            for _ in range(count):
                _, _, _, name, step = struct.unpack_from("<IHHII", image, version_at)
                versions.add(read_name(image, sections[section.link], name))
                version_at += step
            at += following
    return frozenset(versions)


def read_name(image: bytes, names: Section, at: int) -> str:
    start = names.offset + at
    end = image.index(b"\0", start, names.offset + names.size)
    return image[start:end].decode("ascii")
