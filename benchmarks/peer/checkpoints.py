"""Checkpoints derived from a packed one: fewer layers, another activation, masters of the same trits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.model import TernaryTensor, open_checkpoint, unpack_codes
from edgebit.model.tensor_files import DTYPES, INDEX_FILE, SINGLE_FILE, StoredTensor, TensorFiles

CONFIG = "config.json"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Stored:
    """A tensor to be written: safetensors dtype, shape, and its rows in blocks of bounded memory."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Iterator[Array]

    @property
    def size(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def first_layers(checkpoint: Path, layers: int, folder: Path) -> None:
    """The first `layers` layers, everything else as it is."""
    _link_others(checkpoint, folder, num_hidden_layers=layers)
    write_tensors(
        folder / SINGLE_FILE,
        {
            tensor.name: _as_stored(tensor)
            for tensor in TensorFiles(checkpoint).values()
            if _layer(tensor.name) < layers
        },
    )


def with_activation(checkpoint: Path, activation: str, folder: Path) -> None:
    """The same weights (by link) under a configuration with another `hidden_act`."""
    _link_others(checkpoint, folder, hidden_act=activation)
    for path in checkpoint.iterdir():
        if path.suffix == ".safetensors" or path.name == INDEX_FILE:
            (folder / path.name).symlink_to(path.resolve())


def write_masters(checkpoint: Path, repository: str, cache: Path) -> None:
    """bfloat16 masters in `cache`, laid out as the hub's client caches repository "owner/name"."""
    commit = "0" * 40
    root = cache / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    opened = open_checkpoint(checkpoint)
    quantization = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    _link_others(checkpoint, folder, quantization_config=quantization)
    tensors: dict[str, Stored] = {}
    for tensor in TensorFiles(checkpoint).values():
        if tensor.dtype == "U8":
            matrix = opened.projection(tensor.name.removesuffix(".weight"))
            tensors[tensor.name] = Stored("BF16", matrix.shape, master_rows(matrix))
        elif not tensor.name.endswith("_scale"):
            tensors[tensor.name] = _as_stored(tensor)
    write_tensors(folder / SINGLE_FILE, tensors)


def write_products(checkpoint: Path, folder: Path) -> Path:
    """A Llama in float16 whose weights are products of scale and trit, sub-norms left out, as TriLM's are."""
    opened = open_checkpoint(checkpoint)
    architecture = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
    _link_others(checkpoint, folder, quantization_config=None, **architecture)
    tensors: dict[str, Stored] = {}
    for tensor in TensorFiles(checkpoint).values():
        if tensor.dtype == "U8":
            matrix = opened.projection(tensor.name.removesuffix(".weight"))
            tensors[tensor.name] = Stored("F16", matrix.shape, _products(matrix))
        elif not tensor.name.endswith(("_scale", "sub_norm.weight")):
            tensors[tensor.name] = _as_stored(tensor)
    write_tensors(folder / SINGLE_FILE, tensors)
    return folder


def _products(matrix: TernaryTensor) -> Iterator[Array]:
    scale = np.float16(matrix.scale)
    for block in matrix.blocks():
        yield unpack_codes(block) * scale


def master_rows(matrix: TernaryTensor) -> Iterator[Array]:
    """bfloat16 rows of which absmean makes the same trits and, to 1e-4, the same scale.

    With the non-zeros at ±scale alone the mean would be smaller by their share. They are put at scale ÷ share
    rounded down to bfloat16, and the zeros take what is missing from the mean: far below half of it.
    """
    total = prod(matrix.shape)
    nonzero = sum(int(np.count_nonzero(unpack_codes(block))) for block in matrix.blocks())
    wanted = float(matrix.scale) * total
    large = np.float32(wanted / nonzero).view(np.uint32) & np.uint32(0xFFFF0000)
    rest = (wanted - float(large.view(np.float32)) * nonzero) / max(total - nonzero, 1)
    values = np.array([-large.view(np.float32), rest, large.view(np.float32)], np.float32)
    table = values.astype(ml_dtypes.bfloat16)
    for block in matrix.blocks():
        yield table[unpack_codes(block) + 1]


def write_tensors(path: Path, tensors: Mapping[str, Stored]) -> None:
    """A safetensors file, block by block."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.size
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            for block in tensor.blocks:
                file.write(np.ascontiguousarray(block).view(np.uint8).data)


def _as_stored(tensor: StoredTensor) -> Stored:
    return Stored(tensor.dtype, tensor.shape, iter([tensor.map()]))


def _layer(name: str) -> int:
    """The layer a tensor belongs to; -1: none."""
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["model", "layers"] else -1


def _link_others(checkpoint: Path, folder: Path, **changes: Any) -> None:
    """config.json with changes, and links to the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in checkpoint.iterdir():
        if path.suffix != ".safetensors" and path.name not in (CONFIG, INDEX_FILE):
            (folder / path.name).symlink_to(path.resolve())
    config = json.loads((checkpoint / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
