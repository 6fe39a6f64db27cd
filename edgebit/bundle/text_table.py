"""tokenizer.bin: the table the native tokenizer maps into memory and reads in place (layout:
native/text.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import accumulate

import numpy as np

from edgebit.bundle.chat_table import ChatCell, ChatTable
from edgebit.bundle.text_tokenizer import TokenizerFacts
from edgebit.bundle.unicode_tables import CLASS_STARTS, COMPOSITIONS, DECOMPOSITIONS

FORMAT = 2
IGNORE_MERGES, NFC = 1, 2
SPECIAL, STOP = 1, 2
ALLOWED, TRIM_LEFT, TRIM_RIGHT = 1, 2, 4
NO_TOKEN = 0xFFFFFFFF
NONE = -1
HEADER = "<8sIIQIIIiiI"  # eb_text_header without its sections


class Section(IntEnum):
    """Order of the sections in the header."""

    TOKEN_OFFSETS = 0
    TOKEN_BYTES = 1
    TOKEN_FLAGS = 2
    BYTE_TOKENS = 3
    MERGES = 4
    MERGE_SLOTS = 5
    WORD_SLOTS = 6
    CLASSES = 7
    ADDED_RAW = 8
    ADDED_NORMALIZED = 9
    NORMALIZED_OFFSETS = 10
    NORMALIZED_BYTES = 11
    DECOMPOSITIONS = 12
    COMPOSITIONS = 13
    CHAT_ROLES = 14
    CHAT_CELLS = 15
    CHAT_ITEMS = 16
    CHAT_BYTES = 17


def write_table(
    facts: TokenizerFacts,
    bos_id: int | None,
    stop_ids: Iterable[int],
    chat: ChatTable | None,
    eos_id: int | None = None,
) -> bytes:
    """The whole file. The same input gives the same bytes."""
    count = max(facts.vocabulary) + 1
    sections = (
        _token_sections(facts, count, frozenset(stop_ids))
        | _merge_sections(facts)
        | _added_sections(facts)
        | _unicode_sections(facts.nfc)
        | _chat_sections(chat)
    )
    flags = IGNORE_MERGES * facts.ignore_merges | NFC * facts.nfc
    around = (NONE if token is None else token for token in (bos_id, eos_id))
    return _assemble(sections, (facts.split, flags, count, *around, 0))


def _assemble(sections: dict[Section, bytes], fields: tuple[int, ...]) -> bytes:
    header_bytes = struct.calcsize(HEADER) + 8 * len(Section)
    directory, body, offset = b"", b"", header_bytes
    for section in Section:
        content = sections[section]
        directory += struct.pack("<II", offset, len(content))
        padded = content + b"\0" * (-len(content) % 8)
        body += padded
        offset += len(padded)
    return struct.pack(HEADER, b"EDGEBITT", FORMAT, header_bytes, offset, *fields) + directory + body


def _words(values: Iterable[int]) -> bytes:
    return np.fromiter(values, np.uint32).tobytes()


def _strings(strings: Sequence[bytes]) -> tuple[bytes, bytes]:
    """(offsets, bytes) of a list of byte strings."""
    return _words([0, *accumulate(map(len, strings))]), b"".join(strings)


def _token_sections(facts: TokenizerFacts, count: int, stop_ids: frozenset[int]) -> dict[Section, bytes]:
    offsets, blob = _strings([facts.vocabulary.get(token, b"") for token in range(count)])
    special = frozenset(facts.special_tokens.values())
    return {
        Section.TOKEN_OFFSETS: offsets,
        Section.TOKEN_BYTES: blob,
        Section.TOKEN_FLAGS: bytes(
            SPECIAL * (token in special) | STOP * (token in stop_ids) for token in range(count)
        ),
        Section.BYTE_TOKENS: _words(facts.byte_tokens),
    }


def _merge_sections(facts: TokenizerFacts) -> dict[Section, bytes]:
    merges = np.array(facts.merges, np.uint32).reshape(-1, 3)
    # A pair that is listed twice counts with its last rank, as in the library.
    last = {(left, right): rank for rank, (left, right, _) in enumerate(facts.merges)}
    ranks = sorted(last.values())
    hashes = _mixed(merges[ranks, 0] * np.uint32(0x9E3779B1) ^ merges[ranks, 1] * np.uint32(0x85EBCA77))
    words = facts.words if facts.ignore_merges else ()
    return {
        Section.MERGES: merges.tobytes(),
        Section.MERGE_SLOTS: _slots(hashes.tolist(), ranks),
        Section.WORD_SLOTS: _slots(_word_hashes([facts.vocabulary[word] for word in words]), words),
    }


def _mixed(
    hashes: np.ndarray[tuple[int, ...], np.dtype[np.uint32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    hashes = hashes ^ hashes >> np.uint32(15)
    hashes = hashes * np.uint32(0x2C1B3C6D)
    return hashes ^ hashes >> np.uint32(13)


def _word_hashes(words: Sequence[bytes]) -> list[int]:
    hashes = []
    for word in words:
        value = 0x811C9DC5
        for byte in word:
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
        hashes.append(value)
    return list(map(int, _mixed(np.array(hashes, np.uint32))))


def _slots(hashes: Sequence[int], values: Sequence[int]) -> bytes:
    """Open addressing with linear probing, at most half full; a slot holds value + 1."""
    if not values:
        return b""
    size = 1 << (2 * len(values) - 1).bit_length()
    slots = [0] * size
    for start, value in zip(hashes, values, strict=True):
        at = start & size - 1
        while slots[at]:
            at = at + 1 & size - 1
        slots[at] = value + 1
    return _words(slots)


def _added_sections(facts: TokenizerFacts) -> dict[Section, bytes]:
    raw = sorted(
        (token for token in facts.added if not token.normalized), key=lambda token: token.content.encode()
    )
    normalized = sorted(
        (token for token in facts.added if token.normalized), key=lambda token: token.pattern.encode()
    )
    offsets, blob = _strings([token.pattern.encode() for token in normalized])
    return {
        Section.ADDED_RAW: _words([token.id for token in raw]),
        Section.ADDED_NORMALIZED: _words([token.id for token in normalized]),
        Section.NORMALIZED_OFFSETS: offsets,
        Section.NORMALIZED_BYTES: blob,
    }


def _unicode_sections(nfc: bool) -> dict[Section, bytes]:
    def rows(columns: Sequence[int]) -> bytes:
        return np.array(columns, np.uint32).reshape(3, -1).T.tobytes() if nfc else b""

    return {
        Section.CLASSES: _words(CLASS_STARTS),
        Section.DECOMPOSITIONS: rows(DECOMPOSITIONS),
        Section.COMPOSITIONS: rows(COMPOSITIONS),
    }


class _Strings:
    """A pool of byte strings; ``add`` gives the packed (offset, length)."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def add(self, text: str) -> bytes:
        encoded = text.encode()
        at = self.bytes.find(encoded)
        if at < 0:
            at = len(self.bytes)
            self.bytes += encoded
        return struct.pack("<II", at, len(encoded))


def _chat_sections(chat: ChatTable | None) -> dict[Section, bytes]:
    pool = _Strings()
    roles, cells, items = b"", b"", b""
    if chat is not None:
        roles = b"".join(pool.add(role) for role in chat.roles)
        for cell in chat.cells:
            cells += struct.pack("<III", _cell_flags(cell), len(items) // 12, len(cell.items)) + pool.add(
                cell.refusal or ""
            )
            for item in cell.items:
                text = item if isinstance(item, str) else ""
                items += struct.pack("<I", NO_TOKEN if isinstance(item, str) else item) + pool.add(text)
    return {
        Section.CHAT_ROLES: roles,
        Section.CHAT_CELLS: cells,
        Section.CHAT_ITEMS: items,
        Section.CHAT_BYTES: bytes(pool.bytes),
    }


def _cell_flags(cell: ChatCell) -> int:
    return ALLOWED * (cell.refusal is None) | TRIM_LEFT * cell.trim_left | TRIM_RIGHT * cell.trim_right
