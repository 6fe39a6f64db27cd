"""tokenizer.bin: the table the native tokenizer maps into memory and reads in place (layout:
native/text.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from itertools import accumulate

import numpy as np

from edgebit.bundle.chat_table import ChatCell, ChatTable
from edgebit.bundle.text_steps import FirstSpace, Prefix, Spaces
from edgebit.bundle.text_tokenizer import AddedToken, TokenizerFacts
from edgebit.bundle.text_vocabulary import Vocabulary, names_a_byte
from edgebit.bundle.unicode_tables import CLASS_STARTS, COMPOSITIONS, DECOMPOSITIONS

FORMAT = 5
NONE = -1
HEADER = "<8sIIQIIIiii"  # eb_text_header without its sections


class Flag(IntFlag):
    """Flags of the header."""

    IGNORE_MERGES = 1
    NFC = 2
    CHARACTERS = 4
    BYTE_FALLBACK = 8
    FUSE_UNKNOWN = 16
    SPACES = 32
    SPACES_LATE = 64
    PREFIX = 128
    PREFIX_FIRST = 256
    PREFIX_ALWAYS = 512
    FIRST_SPACE = 1024
    FIRST_TOKEN_SPACES = 2048


class TokenFlag(IntFlag):
    SPECIAL = 1
    STOP = 2
    BYTE = 4
    LSTRIP = 8
    RSTRIP = 16
    SINGLE_WORD = 32


ALLOWED, TRIM_LEFT, TRIM_RIGHT, DROP_THOUGHT = 1, 2, 4, 8
NO_TOKEN = 0xFFFFFFFF


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
    RAW_OFFSETS = 9
    RAW_BYTES = 10
    ADDED_NORMALIZED = 11
    NORMALIZED_OFFSETS = 12
    NORMALIZED_BYTES = 13
    DECOMPOSITIONS = 14
    COMPOSITIONS = 15
    CHARACTER_SLOTS = 16
    PIECES = 17
    SCORES = 18
    MERGE_RANKS = 19
    CHAT_ROLES = 20
    CHAT_CELLS = 21
    CHAT_ITEMS = 22
    CHAT_BYTES = 23


def write_table(
    facts: TokenizerFacts,
    bos_id: int | None,
    stop_ids: Iterable[int],
    chat: ChatTable | None,
    eos_id: int | None = None,
) -> bytes:
    """The whole file. The same input gives the same bytes."""
    count = max(facts.texts) + 1
    sections = (
        _token_sections(facts, count, frozenset(stop_ids))
        | _merge_sections(facts.model)
        | _piece_sections(facts.model)
        | _added_sections(facts)
        | _unicode_sections(facts.steps.nfc)
        | _chat_sections(chat)
    )
    stages = sum(stage << 8 * i for i, stage in enumerate(facts.stages))
    named = (NONE if token is None else token for token in (bos_id, eos_id, facts.model.unknown))
    return _assemble(sections, (stages, _flags(facts), count, *named))


def _flags(facts: TokenizerFacts) -> int:
    steps, model = facts.steps, facts.model
    return (
        Flag.IGNORE_MERGES * model.ignore_merges
        | Flag.NFC * steps.nfc
        | Flag.CHARACTERS * (not steps.byte_level and not model.is_unigram)
        | Flag.BYTE_FALLBACK * model.byte_fallback
        | Flag.FUSE_UNKNOWN * model.fuse_unknown
        | Flag.SPACES * (steps.spaces == Spaces.NORMALIZER)
        | Flag.SPACES_LATE * (steps.spaces == Spaces.METASPACE or steps.prefix > Prefix.NORMALIZER)
        | Flag.PREFIX * (steps.prefix == Prefix.NORMALIZER)
        | Flag.PREFIX_FIRST * (steps.prefix == Prefix.FIRST)
        | Flag.PREFIX_ALWAYS * (steps.prefix == Prefix.ALWAYS)
        | Flag.FIRST_SPACE * (steps.first_space == FirstSpace.ONE)
        | Flag.FIRST_TOKEN_SPACES * (steps.first_space == FirstSpace.TOKEN)
    )


def _assemble(sections: dict[Section, bytes], fields: tuple[int, ...]) -> bytes:
    header_bytes = struct.calcsize(HEADER) + 8 * len(Section)
    directory, body, offset = b"", bytearray(), header_bytes
    for section in Section:
        content = sections[section]
        directory += struct.pack("<II", offset, len(content))
        body += content + b"\0" * (-len(content) % 8)
        offset = header_bytes + len(body)
    return struct.pack(HEADER, b"EDGEBITT", FORMAT, header_bytes, offset, *fields) + directory + body


def _words(values: Iterable[int]) -> bytes:
    return np.fromiter(values, np.uint32).tobytes()


def _strings(strings: Sequence[bytes]) -> tuple[bytes, bytes]:
    """(offsets, bytes) of a list of byte strings."""
    return _words([0, *accumulate(map(len, strings))]), b"".join(strings)


def _token_sections(facts: TokenizerFacts, count: int, stop_ids: frozenset[int]) -> dict[Section, bytes]:
    texts = [facts.texts.get(token, b"") for token in range(count)]
    offsets, blob = _strings(texts)
    flags = np.zeros(count, np.uint8)
    for token in stop_ids:
        flags[token] |= TokenFlag.STOP
    for added in facts.added:
        flags[added.id] |= (
            TokenFlag.SPECIAL * added.special
            | TokenFlag.LSTRIP * added.lstrip
            | TokenFlag.RSTRIP * added.rstrip
            | TokenFlag.SINGLE_WORD * added.single_word
        )
    if facts.steps.byte_tokens:
        flags[[token for token, text in enumerate(texts) if names_a_byte(text)]] |= int(TokenFlag.BYTE)
    return {
        Section.TOKEN_OFFSETS: offsets,
        Section.TOKEN_BYTES: blob,
        Section.TOKEN_FLAGS: flags.tobytes(),
    }


def _merge_sections(model: Vocabulary) -> dict[Section, bytes]:
    merges = np.array(model.merges, np.uint32).reshape(-1, 3)
    # A pair that is listed twice counts with its last rank, as in the library.
    last = {(left, right): rank for rank, (left, right, _) in enumerate(model.merges)}
    ranks = sorted(last.values())
    hashes = _mixed(merges[ranks, 0] * np.uint32(0x9E3779B1) ^ merges[ranks, 1] * np.uint32(0x85EBCA77))
    return {
        Section.BYTE_TOKENS: _words(model.byte_tokens),
        Section.MERGES: merges.tobytes(),
        Section.MERGE_RANKS: _words(model.merge_ranks),
        Section.MERGE_SLOTS: _slots(hashes.tolist(), ranks),
        Section.WORD_SLOTS: _token_slots(model, model.words),
        Section.CHARACTER_SLOTS: _token_slots(model, model.characters),
    }


def _token_slots(model: Vocabulary, tokens: Sequence[int]) -> bytes:
    return _slots(_word_hashes([model.texts[token] for token in tokens]), tokens)


def _piece_sections(model: Vocabulary) -> dict[Section, bytes]:
    pieces = sorted(model.scores, key=lambda token: model.texts[token])
    scores = [*(model.scores[token] for token in pieces), model.unknown_score] if pieces else []
    return {Section.PIECES: _words(pieces), Section.SCORES: np.array(scores, np.float64).tobytes()}


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
    def patterns(normalized: bool) -> tuple[bytes, bytes, bytes]:
        tokens: list[AddedToken] = [token for token in facts.added if token.normalized == normalized]
        tokens.sort(key=lambda token: token.pattern)
        return _words([token.id for token in tokens]), *_strings([token.pattern for token in tokens])

    raw, raw_offsets, raw_bytes = patterns(False)
    normalized, normalized_offsets, normalized_bytes = patterns(True)
    return {
        Section.ADDED_RAW: raw,
        Section.RAW_OFFSETS: raw_offsets,
        Section.RAW_BYTES: raw_bytes,
        Section.ADDED_NORMALIZED: normalized,
        Section.NORMALIZED_OFFSETS: normalized_offsets,
        Section.NORMALIZED_BYTES: normalized_bytes,
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
    return (
        ALLOWED * (cell.refusal is None)
        | TRIM_LEFT * cell.trim_left
        | TRIM_RIGHT * cell.trim_right
        | DROP_THOUGHT * cell.drop_thought
    )
