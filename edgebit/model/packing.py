"""A checkpoint whose floats are ternary, written again in the packed layout of transformers: a quarter byte a
weight instead of two or four bytes.

Matrices become ``U8 [N/4, K]``, byte row r holding rows r, r + N/4, r + 2N/4 and r + 3N/4, low bits first,
and ``<matrix>_scale`` float32, the multiplier: [1] where the matrix has one, [N, 1] where its rows have,
[N, K/g] where groups of g columns have. transformers knows the first alone. All other tensors are copied as
they are stored. config.json gets a ``quantization_config`` (linear_class "autobitlinear": scales multiply),
with ``activation_quantization`` "none" where activations stay floats, which transformers does not know
either.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgebit.errors import CheckpointError, UsageError
from edgebit.folders import replacing
from edgebit.model.checkpoint import Checkpoint, open_checkpoint
from edgebit.model.granularity import Scales
from edgebit.model.jsonfile import read_json
from edgebit.model.overrides import AS_THE_FILE_SAYS, Overrides
from edgebit.model.pooling import MODULES_FILE
from edgebit.model.tensor_files import DTYPES, SINGLE_FILE, StoredTensor, TensorFiles
from edgebit.model.ternary import TRITS_PER_BYTE, Bytes, TernaryTensor, row_blocks, unpack_codes
from edgebit.progress import SILENT, Progress

_COPIED_BYTES = 1 << 24
_HEADER_MULTIPLE = 8


@dataclass(frozen=True)
class Packed:
    """What was written: how many matrices have which scales ("tensor", "row", "group of 128"), and bytes."""

    folder: Path
    granularities: Counter[str]
    size: int
    former_size: int


@dataclass(frozen=True)
class _Entry:
    """A tensor of the file that is written; ``blocks`` are its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[bytes]]

    @property
    def size(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def pack_checkpoint(
    source: str | Path,
    output: str | Path,
    progress: Progress = SILENT,
    overrides: Overrides = AS_THE_FILE_SAYS,
) -> Packed:
    """Write the checkpoint folder ``source`` into the new folder ``output``, with bounded memory.

    Raises CheckpointError, with the measured error, for a model that is not ternary; UsageError for one that
    is packed already and where ``output`` exists. An error leaves nothing behind.
    """
    folder = Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists; name a new folder")
    progress.stage("read model")
    checkpoint = open_checkpoint(source, overrides)
    if not checkpoint.path.is_dir():
        raise UsageError(f"{checkpoint.path}: holds packed weights already, expected a folder of safetensors")
    files = TensorFiles(checkpoint.path)
    progress.stage("find scales")
    matrices = _matrices(checkpoint, files, progress)
    entries = _entries(files, matrices)
    progress.stage("write")
    with replacing(folder, CheckpointError) as staging:
        with (staging / SINGLE_FILE).open("wb") as file:
            _write(file, entries, progress)
        config = _config(checkpoint)
        (staging / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name, content in checkpoint.tokenizer.files.items():
            (staging / name).write_bytes(content)
        _copy_pooling(checkpoint.path, staging)
    counts = Counter(Scales(m.scales, m.shape[1]).granularity for m in matrices.values())
    former = sum(tensor.nbytes for tensor in files.values())
    return Packed(folder, counts, sum(entry.size for entry in entries), former)


def _matrices(checkpoint: Checkpoint, files: TensorFiles, progress: Progress) -> dict[str, TernaryTensor]:
    """The ternary matrices by the names they are stored under; each is read once for its scales."""
    found: dict[str, TernaryTensor] = {}
    names = list(checkpoint.projection_names())
    for index, name in enumerate(names):
        stored = checkpoint.stored_name(f"{name}.weight")
        if files[stored].dtype == "U8":
            raise UsageError(f"{checkpoint.path}: {stored} is packed already; there is nothing to do")
        found[stored] = checkpoint.projection(name)
        if not np.isfinite(found[stored].scales).all():
            raise CheckpointError(f"{checkpoint.path}: tensor {stored} has a scale that is no finite number")
        progress.advance(index + 1, len(names))
    return found


def _entries(files: TensorFiles, matrices: dict[str, TernaryTensor]) -> list[_Entry]:
    """All tensors of the new file, the widest types first so that each is aligned."""
    entries = []
    for name, tensor in files.items():
        if name in matrices:
            entries += _packed(name, matrices[name])
        elif name.removesuffix("_scale") not in matrices:
            entries.append(_Entry(name, tensor.dtype, tensor.shape, partial(_copied, tensor)))
    return sorted(entries, key=lambda entry: (-DTYPES[entry.dtype].itemsize, entry.name))


def _packed(name: str, matrix: TernaryTensor) -> list[_Entry]:
    rows, columns = matrix.shape
    scales = np.asarray(matrix.scales, np.float32)
    return [
        _Entry(name, "U8", (rows // TRITS_PER_BYTE, columns), lambda: _quarters(matrix)),
        _Entry(f"{name}_scale", "F32", scales.shape, lambda: iter([scales.tobytes()])),
    ]


def _quarters(matrix: TernaryTensor) -> Iterator[bytes]:
    """The four quarters of the rows side by side in the bits of one."""
    quarter = matrix.shape[0] // TRITS_PER_BYTE
    for begin, end in row_blocks((quarter, TRITS_PER_BYTE * matrix.shape[1])):
        packed: Bytes = np.zeros((end - begin, matrix.shape[1]), np.uint8)
        for lane in range(TRITS_PER_BYTE):
            trits = unpack_codes(matrix.rows(lane * quarter + begin, lane * quarter + end))
            packed |= (trits + 1).astype(np.uint8) << np.uint8(2 * lane)
        yield packed.tobytes()


def _copied(tensor: StoredTensor) -> Iterator[bytes]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.offset)
        for begin in range(0, tensor.nbytes, _COPIED_BYTES):
            yield file.read(min(_COPIED_BYTES, tensor.nbytes - begin))


def _write(file: BinaryIO, entries: list[_Entry], progress: Progress) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in entries:
        offsets = [end, end := end + entry.size]
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_MULTIPLE)
    file.write(struct.pack("<Q", len(text)) + text)
    written = 0
    for entry in entries:
        for block in entry.blocks():
            file.write(block)
            written += len(block)
            progress.advance(written, end)


def _copy_pooling(source: Path, folder: Path) -> None:
    """What says how an encoder's hidden states become one vector."""
    if (source / MODULES_FILE).is_file():
        for path in (source / MODULES_FILE, *source.glob("*/config.json")):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    quantization: dict[str, Any] = {
        "quant_method": "bitnet",
        "linear_class": "autobitlinear",
        "quantization_mode": "offline",
        "modules_to_not_convert": ["lm_head"],
    }
    if config.activation_quantization != "int8":
        quantization["activation_quantization"] = config.activation_quantization
    if config.projection_norm is not None and config.projection_norm.name != config.family.projection_norm:
        quantization |= {"use_rms_norm": True, "rms_norm_eps": config.projection_norm.eps}
    return read_json(checkpoint.path / "config.json") | {"quantization_config": quantization}
