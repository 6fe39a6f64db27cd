"""weights.bin: sections in the layouts the kernels read, produced one row block at a time from the mapped
checkpoint.

Layouts (DESIGN section 5): ternary matrices are "U16", ``[N/16][K/16][16 rows][4]`` bytes where field g of
byte (i, j) is w[row i, k = 16·kb + 4g + j] + 1; tables are bfloat16 rows; norms, scales and rotary tables are
float32. All feature dimensions are padded to a multiple of 64: trits with 0, everything else with 0.0.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.compiler.memory import align
from edgebit.errors import CompileError

MAGIC = b"EDGEBITW"
FORMAT = 1
HEADER = struct.Struct("<8sIIQ32s8x")
PADDING = 64  # every feature dimension is a multiple of this
ROWS = 16  # rows of a U16 block
_ROW_BLOCK = 4096  # rows converted at a time: bounds the memory of a compilation

_FILE_BLOCK = 1 << 22
"""Bytes read and written at a time. Linux keeps what is written in such blocks, at multiples of them, on huge
pages, where the file system can (ext4, xfs), and maps them so.
"""
_MAGNITUDE, _INFINITY = np.uint16(0x7FFF), np.uint16(0x7F80)  # of bfloat16 bits

Array = npt.NDArray[np.generic]
Chunks = Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Section:
    name: str
    offset: int
    size: int
    chunks: Chunks


@dataclass
class Weights:
    """The sections of weights.bin in file order. ``add`` fixes offsets; ``write`` streams the bytes."""

    sections: list[Section] = field(default_factory=list)
    _offsets: dict[str, int] = field(default_factory=dict)
    _groups: dict[str, dict[str, int]] = field(default_factory=dict)
    _body: int = 0

    @property
    def size(self) -> int:
        return align(self.sections[-1].offset + self.sections[-1].size) if self.sections else HEADER.size

    def add(self, name: str, size: int, chunks: Chunks) -> int:
        """Append a section (once for each name) and return its offset from the start of the file."""
        if name not in self._offsets:
            offset = self.size
            self.sections.append(Section(name, offset, size, chunks))
            self._offsets[name] = offset
        return self._offsets[name]

    def add_group(
        self, name: str, sections: Callable[[], Mapping[str, tuple[int, Chunks]]]
    ) -> dict[str, int]:
        """Append several sections that are made together (once for each name); their offsets."""
        if name not in self._groups:
            self._groups[name] = {
                part: self.add(f"{name}.{part}", *section) for part, section in sections().items()
            }
        return self._groups[name]

    def end_body(self) -> None:
        """What is added from here on depends on how the lm_head is kept; all before does not."""
        self._body = len(self.sections)

    def take_body(self, written: Weights, path: Path) -> None:
        """Take the sections of the body, where they are the same, from a file that ``written`` wrote before:
        packing them again costs more than reading them.
        """
        made = {section.name: section for section in written.sections[: written._body]}
        for index, section in enumerate(self.sections[: self._body]):
            other = made.get(section.name)
            if other is not None and other.size == section.size:
                self.sections[index] = replace(section, chunks=partial(_file_part, path, other))

    def write(self, file: BinaryIO, advance: Callable[[int, int], None] = lambda done, total: None) -> bytes:
        """Write the whole file and return its id: the sha256 of everything after the header."""
        digest = hashlib.sha256()
        written = HEADER.size
        block = bytearray(HEADER.size)

        def put(data: bytes) -> None:
            nonlocal written
            digest.update(data)
            written += len(data)
            left = memoryview(data)
            while left:
                part = left[: _FILE_BLOCK - len(block)]
                block.extend(part)
                left = left[len(part) :]
                if len(block) == _FILE_BLOCK:
                    file.write(block)
                    block.clear()

        for section in self.sections:
            put(bytes(section.offset - written))
            for data in section.chunks():
                put(data)
                advance(written, self.size)
            if written != section.offset + section.size:
                raise CompileError(
                    f"weights section {section.name}: {written - section.offset} bytes, "
                    f"expected {section.size}"
                )
        put(bytes(self.size - written))
        file.write(block)
        file.seek(0)
        file.write(HEADER.pack(MAGIC, FORMAT, 0, self.size, digest.digest()))
        return digest.digest()


def _file_part(path: Path, section: Section) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(section.offset)
        left = section.size
        while left:
            data = file.read(min(left, _FILE_BLOCK))
            if not data:
                raise CompileError(f"{path} ended before section {section.name}: it was changed meanwhile")
            left -= len(data)
            yield data


@dataclass(frozen=True)
class Packed:
    """A ternary matrix as the ONNX file holds it: uint8 [N, ceil(K/4)], 2 bits per trit, LSB first, code =
    value + 1.
    """

    name: str
    rows: int  # N
    columns: int  # K
    data: Callable[[], Array]  # read when the section is written, and not kept


def pad(size: int) -> int:
    return align(size, PADDING)


def transpose_fields(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Transpose the 4 × 4 matrix of 2-bit fields in each word: byte g, field j ↔ byte j, field g."""
    swap = (words ^ (words >> np.uint32(6))) & np.uint32(0x00CC00CC)
    words = words ^ swap ^ (swap << np.uint32(6))
    swap = (words ^ (words >> np.uint32(12))) & np.uint32(0x0000F0F0)
    return np.asarray(words ^ swap ^ (swap << np.uint32(12)), np.uint32)


def pack_u16(matrix: Packed, data: Array, first: int, last: int) -> npt.NDArray[np.uint32]:
    """Rows first..last of ``data`` as U16 words [blocks, K/16, 16].

    The count is a multiple of 16; rows past the end are zero trits. Raises CompileError where a code is 3.
    """
    words_per_row = pad(matrix.columns) // 16
    codes = np.full((last - first, words_per_row * 4), 0x55, np.uint8)
    source = np.asarray(data[first : min(last, matrix.rows)], np.uint8)
    codes[: source.shape[0], : source.shape[1]] = source
    remainder = matrix.columns % 4
    if remainder:  # the padding fields of the last byte hold anything
        kept = np.uint8((1 << (2 * remainder)) - 1)
        codes[:, source.shape[1] - 1] = (codes[:, source.shape[1] - 1] & kept) | (np.uint8(0x55) & ~kept)
    invalid = codes & (codes >> np.uint8(1)) & np.uint8(0x55)
    if invalid.any():
        row, byte = (int(index) for index in np.argwhere(invalid)[0])
        raise CompileError(
            f"tensor {matrix.name}: code 3 at row {first + row}, columns {4 * byte}..{4 * byte + 3}; "
            "packed trits are 0, 1 or 2: the file is damaged or in another layout"
        )
    words = transpose_fields(codes.view("<u4"))
    return np.ascontiguousarray(words.reshape(-1, ROWS, words_per_row).transpose(0, 2, 1))


def stacked(matrices: Sequence[Packed]) -> tuple[int, Chunks]:
    """Matrices one below the other (each padded to 16 rows, all together to 64): size and producer of the
    section.
    """
    columns = matrices[0].columns
    row_bytes = pad(columns) // 4
    rows = [align(matrix.rows, ROWS) for matrix in matrices]
    padding = pad(sum(rows)) - sum(rows)

    def chunks() -> Iterator[bytes]:
        for matrix, count in zip(matrices, rows, strict=True):
            data = matrix.data()
            for first in range(0, count, _ROW_BLOCK):
                yield pack_u16(matrix, data, first, min(first + _ROW_BLOCK, count)).tobytes()
        yield b"\x55" * (padding * row_bytes)

    return pad(sum(rows)) * row_bytes, chunks


def interleaved(gate: Packed, up: Packed) -> tuple[int, Chunks]:
    """Blocks of 16 rows of gate and up in turn, each padded to 64 rows: size and producer of the section."""
    rows = pad(gate.rows)
    row_bytes = pad(gate.columns) // 4

    def chunks() -> Iterator[bytes]:
        gates, ups = gate.data(), up.data()
        for first in range(0, rows, _ROW_BLOCK):
            last = min(first + _ROW_BLOCK, rows)
            pairs = np.stack([pack_u16(gate, gates, first, last), pack_u16(up, ups, first, last)], axis=1)
            yield pairs.tobytes()

    return 2 * rows * row_bytes, chunks


def float_vector(name: str, values: Array, size: int, fill: float = 0.0) -> tuple[int, Chunks]:
    """A float32 vector padded to ``size`` values; bfloat16 and float16 sources widen exactly. Refuses NaN and
    infinity.
    """
    vector = np.full(size, fill, np.float32)
    flat = np.asarray(values).reshape(-1).astype(np.float32)
    if not np.isfinite(flat).all():
        raise CompileError(f"tensor {name}: value {int(np.argmin(np.isfinite(flat)))} is not finite")
    vector[: flat.size] = flat
    data = vector.astype("<f4").tobytes()
    return len(data), lambda: iter([data])


def bfloat16_rows(name: str, block: Array, first: int) -> npt.NDArray[np.uint16]:
    """Rows of a table, from row ``first`` on, as the bits of bfloat16 values. Raises CompileError for values
    that bfloat16 cannot hold exactly or that are not finite.
    """
    narrow = block.astype(ml_dtypes.bfloat16, copy=False)
    if block.dtype != narrow.dtype and not np.array_equal(
        narrow.astype(np.float32), block.astype(np.float32)
    ):
        raise CompileError(
            f"tensor {name}: {block.dtype} values that bfloat16 cannot hold exactly; "
            "convert the embedding to bfloat16 first"
        )
    bits = np.ascontiguousarray(narrow).view(np.uint16)
    if (bits & _MAGNITUDE).max(initial=0) >= _INFINITY:
        raise CompileError(f"tensor {name}: a value in rows {first}..{first + len(block) - 1} is not finite")
    return bits


def bfloat16_table(name: str, rows: int, width: int, data: Callable[[], Array]) -> tuple[int, Chunks]:
    """Rows of a [V, H] table as bfloat16, padded to ``width`` columns; refuses what `bfloat16_rows` does."""

    def chunks() -> Iterator[bytes]:
        table = data()
        for first in range(0, rows, _ROW_BLOCK):
            block = np.asarray(table[first : first + _ROW_BLOCK])
            padded = np.zeros((len(block), width), np.uint16)
            padded[:, : block.shape[1]] = bfloat16_rows(name, block, first)
            yield padded.astype("<u2").tobytes()

    return rows * width * 2, chunks
