"""The GGUF container (versions 2 and 3, little-endian): key-value pairs, and where each tensor lies.

    "GGUF"  u32 version  u64 tensors  u64 pairs
    pair:   string key, u32 kind, value          string: u64 length, UTF-8
    tensor: string name, u32 dimensions, u64 sizes (fastest first), u32 type, u64 offset
    padding to general.alignment (32 where absent); offsets count from here and are multiples of it

Nothing in a file is believed: every count and length is checked against the bytes that are left before it is
used, so a file of n bytes costs memory and time of order n. Source: ggml's docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.foreign import git_lfs_pointer
from edgebit.model.gguf.blocks import BLOCK_DECODERS
from edgebit.model.gguf.metadata import Metadata, Value
from edgebit.model.gguf.tensor_types import LEGACY_TYPES, TENSOR_TYPES, refusal
from edgebit.model.tensor_files import StoredTensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
_MOST_TENSORS = 1 << 16
_MOST_PAIRS = 1 << 16
_MOST_TEXTS = 1 << 21  # of one array: eight vocabularies of 2B-4T
_LONGEST_NAME = 1 << 10
_LONGEST_TEXT = 1 << 24
_MOST_DIMENSIONS = 4

_KINDS = "<u1 <i1 <u2 <i2 <u4 <i4 <f4 ? text array <u8 <i8 <f8".split()  # by their numbers
_Entry = tuple[str, tuple[int, ...], int, int]  # name, shape, number of the type, offset
_TEXT, _ARRAY = _KINDS.index("text"), _KINDS.index("array")


@dataclass(frozen=True)
class GgufTensor(StoredTensor):
    """``dtype`` is the name of a `TensorType`; ``shape`` is in the order of numpy, rows first."""

    size: int

    def raw(self) -> npt.NDArray[np.uint8]:
        """All bytes of the tensor as a view of the file."""
        return np.memmap(self.file, np.uint8, "r", self.offset, (self.size,))

    def map(self) -> npt.NDArray[Any]:
        """A view of the file where the tensor is of plain numbers, a decoded copy of blocks of them."""
        return self.float_rows(0, self.shape[0]) if self.dtype in BLOCK_DECODERS else super().map()

    def stored_rows(self, begin: int, end: int) -> npt.NDArray[Any]:
        """Of blocks of numbers: decoded, as float32."""
        decode = BLOCK_DECODERS.get(self.dtype)
        if decode is None:
            return super().stored_rows(begin, end)
        rows = self.raw().reshape(self.shape[0], -1)[begin:end]
        return decode(rows).reshape(end - begin, self.shape[1])


@dataclass(frozen=True)
class GgufFile:
    """What a file holds; tensors by their names in the file."""

    path: Path
    metadata: Metadata
    tensors: Mapping[str, GgufTensor]


def read_gguf(path: Path) -> GgufFile:
    """Raises CheckpointError for a file that is truncated, malformed, or of an unknown version or type."""
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
            if beginning[:4] != MAGIC:
                what = git_lfs_pointer(beginning) or "not a GGUF file (it does not begin with GGUF)"
                raise CheckpointError(f"{path}: {what}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(path, content).read()
    except OSError as reason:
        raise CheckpointError(f"{path}: cannot be read ({reason.strerror or reason})") from None


class _Reader:
    """A position in the mapped file."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.position = len(MAGIC)
        self.legacy: set[int] = set()

    def read(self) -> GgufFile:
        version = self.integer("<I", "the version")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            kind = "a big-endian file" if swapped in VERSIONS else f"version {version}"
            raise self.error(f"{kind} is not read, versions 2 and 3 in little-endian order are; convert anew")
        count = self.count("tensors", _MOST_TENSORS)
        metadata = Metadata(str(self.path), self.pairs(self.count("key-value pairs", _MOST_PAIRS)))
        entries = [self.tensor() for _ in range(count)]
        alignment = metadata.integer("general.alignment", ALIGNMENT)
        if alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
            raise self.error(f"general.alignment is {alignment}, expected a power of two")
        start = _padded(self.position, alignment)
        self.legacy = self.legacy_numbers(entries, start)
        tensors: dict[str, GgufTensor] = {}
        for entry in entries:
            tensor = self.place(entry, start, alignment)
            if tensor.name in tensors:
                raise self.error(f"tensor {tensor.name} is there twice")
            tensors[tensor.name] = tensor
        self.check_places(list(tensors.values()), start, alignment)
        return GgufFile(self.path, metadata, tensors)

    def pairs(self, count: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for _ in range(count):
            key = self.text("a key", _LONGEST_NAME)
            if key in values:
                raise self.error(f"key {key} is there twice")
            values[key] = self.value(self.integer("<I", key), key)
        return values

    def value(self, kind: int, key: str) -> Value:
        if kind == _TEXT:
            return self.text(key, _LONGEST_TEXT)
        if kind == _ARRAY:
            return self.array(key)
        number = self.numbers(kind, 1, key)[0]
        # The shortest decimal that is this float32: 1e-05, which the writer meant, not 9.999999747378752e-06.
        return float(str(number)) if isinstance(number, np.float32) else number.item()

    def array(self, key: str) -> Value:
        kind = self.integer("<I", key)
        if kind == _TEXT:
            count = self.count(f"texts in {key}", _MOST_TEXTS)
            return [self.text(key, _LONGEST_TEXT) for _ in range(count)]
        if kind == _ARRAY:
            raise self.error(f"{key} is an array of arrays, which no model has")
        return self.numbers(kind, self.integer("<Q", key), key)

    def numbers(self, kind: int, count: int, key: str) -> npt.NDArray[Any]:
        if kind >= len(_KINDS) or kind in (_TEXT, _ARRAY):
            raise self.error(f"{key} is of unknown kind {kind}")
        dtype = np.dtype(_KINDS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize, key), dtype)

    def tensor(self) -> _Entry:
        """Name, shape in numpy's order, number of the type, offset behind the start of the data."""
        name = self.text("a tensor's name", _LONGEST_NAME)
        dimensions = self.integer("<I", name)
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise self.error(f"tensor {name} has {dimensions} dimensions, expected 1 to {_MOST_DIMENSIONS}")
        shape = tuple(self.integer("<Q", name) for _ in range(dimensions))[::-1]
        return name, shape, self.integer("<I", name), self.integer("<Q", name)

    def place(self, entry: _Entry, start: int, alignment: int) -> GgufTensor:
        name, shape, number, offset = entry
        kind = LEGACY_TYPES[number] if number in self.legacy else TENSOR_TYPES.get(number)
        if kind is None:
            raise self.error(f"tensor {name} {refusal(number)}")
        size = kind.bytes(shape)
        if not size:
            raise self.error(
                f"tensor {name} of {kind.name} is {list(shape)}, expected whole blocks of {kind.block} values"
            )
        if offset % alignment:
            raise self.error(f"tensor {name} begins at {offset}, which is no multiple of {alignment}")
        missing = start + offset + size - len(self.content)
        if missing > 0:
            raise self.error(
                f"the file ends {missing} bytes before tensor {name} does; it is truncated, download it again"
            )
        return GgufTensor(name, self.path, kind.name, shape, start + offset, size)

    def legacy_numbers(self, entries: Sequence[_Entry], start: int) -> set[int]:
        """Type numbers that this file uses for another, smaller type: a tensor of the type of today would
        reach into the next one, or, where there is none, behind the end of the file.
        """
        offsets = sorted(offset for _, _, _, offset in entries)
        end = len(self.content) - start
        next_of = dict(zip(offsets, [*offsets[1:], end], strict=False))
        found = set()
        for number in LEGACY_TYPES:
            those = [entry for entry in entries if entry[2] == number]
            followed = [entry for entry in those if entry[3] != offsets[-1]]
            for _, shape, _, offset in followed or those:  # the last may be cut off
                today, legacy = TENSOR_TYPES[number].bytes(shape), LEGACY_TYPES[number].bytes(shape)
                room = next_of[offset] - offset
                if legacy and legacy <= room and (today is None or today > room):
                    found.add(number)
        return found

    def check_places(self, tensors: list[GgufTensor], start: int, alignment: int) -> None:
        """Tensors follow one another without gaps, as ggml demands it: a gap is the rest of a tensor whose
        type is not the one that is declared. Behind the last there may be anything but that.
        """
        tensors.sort(key=lambda tensor: tensor.offset)
        for tensor, following in zip_longest(tensors, tensors[1:]):
            room = (following.offset if following else len(self.content)) - tensor.offset
            if tensor.size > room:
                raise self.error(f"tensors {tensor.name} and {following.name} overlap; the file is damaged")
            fitting = [
                kind.name
                for kind in (*TENSOR_TYPES.values(), *LEGACY_TYPES.values())
                if _padded(kind.bytes(tensor.shape) or 0, alignment) == _padded(room, alignment)
            ]
            if tensor.dtype not in fitting and (fitting or following):
                of = f", as of {' or '.join(fitting)}" if fitting else ""
                raise self.error(
                    f"tensor {tensor.name} is declared as {tensor.dtype} of {list(tensor.shape)}, which "
                    f"takes {tensor.size} bytes, and has {room}{of}; the file is damaged"
                )
        late = tensors[0].offset - start if tensors else 0
        if late:
            raise self.error(f"tensor {tensors[0].name}, the first, begins {late} bytes late; it is damaged")

    def text(self, what: str, longest: int) -> str:
        length = self.integer("<Q", what)
        if length > longest:
            raise self.error(f"{what} is {length} bytes long, expected at most {longest}: damaged")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not UTF-8; the file is damaged") from None

    def count(self, what: str, most: int) -> int:
        count = self.integer("<Q", what)
        if count > most:
            raise self.error(f"{count} {what}, expected at most {most}; the file is damaged")
        return count

    def integer(self, form: str, what: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form), what))[0]
        return value

    def take(self, size: int, what: str) -> bytes:
        left = len(self.content) - self.position
        if size > left:
            raise self.error(f"the file ends within {what} ({size} bytes, {left} left); download it again")
        self.position += size
        return self.content[self.position - size : self.position]

    def error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {message}")


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
