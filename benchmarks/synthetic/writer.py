"""Writing a checkpoint folder: tensor by tensor into a temporary sibling, renamed at the end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from benchmarks.synthetic.architecture import Architecture, TensorEntry
from benchmarks.synthetic.draw import Draw
from benchmarks.synthetic.embedding import embedding_blocks
from benchmarks.synthetic.layers import Layers
from benchmarks.synthetic.tokenizer import json_bytes, tokenizer_files
from edgebit.errors import UsageError
from edgebit.folders import swap
from edgebit.progress import SILENT, Progress

WEIGHTS = "model.safetensors"
_MARK = "edgebit.synthetic"  # in the file's metadata: only what this wrote is ever replaced


def write_checkpoint(
    folder: Path, architecture: Architecture, seed: int = 0, progress: Progress = SILENT
) -> Path:
    """Write ``folder``; the same arguments give the same bytes (under one version of numpy and Python).

    An earlier synthetic checkpoint is replaced. Raises UsageError where ``folder`` holds anything else.
    """
    check_output(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        progress.stage("tokenizer")
        for name, content in tokenizer_files(architecture.vocab_size).items():
            (made / name).write_bytes(content)
        (made / "config.json").write_bytes(json_bytes(architecture.config()))
        progress.stage("weights")
        with (made / WEIGHTS).open("wb") as file:
            _write_tensors(file, architecture, seed, progress)
        swap(made, folder, Path(temporary) / "old")
    return folder


def check_output(folder: Path) -> None:
    """Raises UsageError unless ``folder`` is absent, empty, or a checkpoint this module wrote."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} exists and is not a folder; choose another name")
    if any(folder.iterdir()) and not _is_synthetic(folder / WEIGHTS):
        raise UsageError(f"{folder} exists and is not a synthetic checkpoint; choose another name")


def _is_synthetic(weights: Path) -> bool:
    try:
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return _MARK in header["__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError):
        return False


def _write_tensors(file: BinaryIO, architecture: Architecture, seed: int, progress: Progress) -> None:
    entries = architecture.tensors()
    file.write(_header(entries, f"{architecture.name} seed {seed}"))
    draw = Draw(seed)
    layers = Layers(architecture, draw)
    total, done = sum(entry.size for entry in entries), 0
    for entry in entries:
        written = 0
        for block in _blocks(entry, architecture, layers, draw):
            file.write(block)
            written += len(block)
            progress.advance(done + written, total)
        assert written == entry.size, entry  # the header is written already
        done += written


def _blocks(entry: TensorEntry, architecture: Architecture, layers: Layers, draw: Draw) -> Iterator[bytes]:
    if entry.name == "model.embed_tokens.weight":
        yield from embedding_blocks(architecture, layers.residual, draw)
    else:
        yield layers.tensor(entry).tobytes()


def _header(entries: list[TensorEntry], description: str) -> bytes:
    """Length and JSON of a safetensors header, padded with spaces so that the data is aligned to 8 bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt", _MARK: description}}
    offset = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + entry.size],
        }
        offset += entry.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
