"""Weights of a checkpoint folder as views of the mapped safetensors files.

The safetensors library maps a file too, but hands numpy copies: an embedding would be in memory twice. So the
header is read here: eight bytes of length, JSON of {name: dtype, shape, data_offsets}, then the data. Every
number of a header is checked against the size of its file before a byte is used. Values are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.float_bits import widened
from edgebit.model.foreign import describe, git_lfs_pointer
from edgebit.model.jsonfile import parse_json, quoted, read_json

Array = npt.NDArray[Any]

FLOAT_DTYPES = ("BF16", "F16", "F32")
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000  # the limit of the safetensors library
_MOST_DIMENSIONS = 8
_LONGEST_NAME = 255  # of a file

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
}


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies; ``offset`` counts from the start of ``file``."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    def map(self) -> Array:
        """A read-only view of the file; bfloat16 comes as ml_dtypes.bfloat16."""
        if prod(self.shape) == 0:
            return np.empty(self.shape, DTYPES[self.dtype])
        return np.memmap(self.file, DTYPES[self.dtype], "r", self.offset, self.shape)

    def stored_rows(self, begin: int, end: int) -> Array:
        """Rows begin..end of a matrix of floats, in whatever type they are stored."""
        return self.map()[begin:end]

    def float_rows(self, begin: int, end: int) -> npt.NDArray[np.float32]:
        """Rows begin..end of a matrix of floats as float32."""
        return widened(self.stored_rows(begin, end))


class TensorFiles(Mapping[str, StoredTensor]):
    """All tensors of a checkpoint folder by name: one model.safetensors, or shards with an index."""

    def __init__(self, folder: Path) -> None:
        index = folder / INDEX_FILE
        if (folder / SINGLE_FILE).is_file():
            self._tensors = read_header(folder / SINGLE_FILE)
        elif index.is_file():
            self._tensors = _read_shards(index)
        else:
            raise CheckpointError(f"{folder}: neither {SINGLE_FILE} nor {INDEX_FILE}; {describe(folder)}")
        self.folder = folder

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Any:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file. Raises CheckpointError for a truncated or malformed file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(64)
            pointer = git_lfs_pointer(beginning)
            if pointer is not None:
                raise CheckpointError(f"{path}: {pointer}")
            length = int.from_bytes(beginning[:8], "little")
            file.seek(8)
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise CheckpointError(
                    f"{path}: {size} bytes cannot hold a header of {length}; the file is truncated or foreign"
                )
            content = file.read(length)
    except OSError as reason:
        raise CheckpointError(f"{path}: cannot be read ({reason.strerror or reason})") from None
    header = parse_json(content, f"{path}: the safetensors header", CheckpointError)
    if not isinstance(header.pop("__metadata__", {}), dict):
        raise CheckpointError(f"{path}: __metadata__ of the safetensors header is no object; it is damaged")
    tensors = {name: _stored(path, name, entry, 8 + length, size) for name, entry in header.items()}
    _refuse_overlaps(tensors.values())
    return tensors


def _stored(path: Path, name: str, entry: Any, data_start: int, file_size: int) -> StoredTensor:
    where = f"{path}: tensor {name}"
    try:
        dtype, shape = entry["dtype"], _integers(entry["shape"])
        begin, end = _integers(entry["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{where}: malformed header entry {quoted(entry)}") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(f"{where}: dtype {str(dtype)[:60]} is not known; known are {', '.join(DTYPES)}")
    if len(shape) > _MOST_DIMENSIONS:
        raise CheckpointError(f"{where}: {len(shape)} dimensions, expected at most {_MOST_DIMENSIONS}")
    needed = prod(shape) * DTYPES[dtype].itemsize
    if min(shape, default=0) < 0 or begin < 0 or end - begin != needed:
        raise CheckpointError(
            f"{where}: {end - begin} bytes for shape {list(shape)} of {dtype}, expected {needed}"
        )
    if data_start + end > file_size:
        missing = data_start + end - file_size
        raise CheckpointError(
            f"{where}: the file ends {missing} bytes too early; it is truncated, download it again"
        )
    return StoredTensor(name, path, dtype, shape, data_start + begin)


def _integers(values: Any) -> tuple[int, ...]:
    """Raises TypeError for anything but a list of integers: int() would take "7", 7.5 and True too."""
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise TypeError
    return tuple(values)


def _refuse_overlaps(tensors: Iterable[StoredTensor]) -> None:
    """The format forbids two tensors to share bytes."""
    for first, second in pairwise(sorted(tensors, key=lambda tensor: (tensor.offset, tensor.nbytes))):
        if first.offset + first.nbytes > second.offset:
            raise CheckpointError(
                f"{first.file}: tensors {first.name} and {second.name} overlap; the file is damaged"
            )


def _read_shards(index: Path) -> dict[str, StoredTensor]:
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f'{index}: no "weight_map" of tensor names to files')
    tensors: dict[str, StoredTensor] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or Path(shard).name != shard or len(shard) > _LONGEST_NAME:
            raise CheckpointError(
                f"{index}: tensor {name} is in {quoted(shard)}, which is not a plain file name"
            )
    for shard in sorted(set(weight_map.values())):
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index}: shard {shard} is missing; download the checkpoint again")
        stored = read_header(index.parent / shard)
        for name in (name for name, holder in weight_map.items() if holder == shard):
            if name not in stored:
                raise CheckpointError(f"{index}: tensor {name} is not in {shard}, where the index places it")
            tensors[name] = stored[name]
    return tensors
