"""A checkpoint: configuration, tokenizer, and weights that stay in their mapped files until asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model.config import ModelConfig, read_config
from edgebit.model.hub import locate
from edgebit.model.tensor_files import StoredTensor, TensorFiles
from edgebit.model.ternary import (
    FLOAT_DTYPES,
    TRITS_PER_BYTE,
    MasterWeights,
    PackedTrits,
    TernaryTensor,
    UnpackedTrits,
    read_scale,
)
from edgebit.model.tokenizer import TokenizerFiles, read_tokenizer

EMBEDDING = "model.embed_tokens.weight"
LM_HEAD = "lm_head.weight"
FINAL_NORM = "model.norm.weight"
_IMPLAUSIBLE_MULTIPLIER = 16.0  # real multipliers: 0.005 … 5; a reciprocal taken for one: 50 … 200


class CheckpointWarning(UserWarning):
    """Something about a checkpoint that edgebit can read but a person should look at."""


class Checkpoint:
    """An opened checkpoint folder: its tensors are mapped when they are asked for and not kept."""

    def __init__(
        self, name: str, path: Path, config: ModelConfig, tensors: TensorFiles, tokenizer: TokenizerFiles
    ) -> None:
        self.name = name
        self.path = path
        self.config = config
        self.tokenizer = tokenizer
        self._tensors = tensors

    def projection(self, name: str) -> TernaryTensor:
        """The ternary matrix of a linear like "model.layers.0.self_attn.q_proj"."""
        weight = self._find(f"{name}.weight")
        scale = self._tensors.get(f"{name}.weight_scale")
        sense = self.config.quantization.scale_is_multiplier
        rows, columns = self.config.projections[name.split(".", 3)[-1]]
        if weight.dtype == "U8":
            self._expect(weight, ("U8",), (rows // TRITS_PER_BYTE, columns))
            return PackedTrits(weight, self._find(f"{name}.weight_scale"), sense)
        self._expect(weight, FLOAT_DTYPES, (rows, columns))
        return MasterWeights(weight) if scale is None else UnpackedTrits(weight, scale, sense)

    def float_tensor(self, name: str) -> npt.NDArray[Any]:
        """A norm weight, the embedding or the head as a view of its file, in the dtype it is stored in."""
        return self._float(name).map()

    def bfloat16_rows(self, name: str) -> npt.NDArray[Any]:
        """An embedding-like matrix in bfloat16: the mapped file itself, or a rounded copy of wider floats."""
        rows = self.float_tensor(name)
        return (
            rows if rows.dtype == ml_dtypes.bfloat16 else rows.astype(np.float32).astype(ml_dtypes.bfloat16)
        )

    def layer_norms(self) -> dict[str, int]:
        """Every norm of a layer, relative to "model.layers.N.", with its size."""
        config = self.config
        norms = {
            "input_layernorm": config.hidden_size,
            "post_attention_layernorm": config.hidden_size,
        }
        if config.family.attention_sub_norm:
            norms[config.family.attention_sub_norm] = config.query_size
        if config.family.mlp_sub_norm:
            norms[config.family.mlp_sub_norm] = config.intermediate_size
        return norms

    def verify(self) -> None:
        """Check presence, dtype and shape of every tensor, reading scales and norms alone.

        Raises CheckpointError naming the first that is wrong, missing, or of another kind of model.
        """
        expected = {EMBEDDING, FINAL_NORM} | (set() if self.config.tie_word_embeddings else {LM_HEAD})
        for layer in self._layers():
            expected |= {f"{layer}.{norm}.weight" for norm in self.layer_norms()}
        for name in sorted(expected):
            tensor = self._float(name)
            if len(tensor.shape) == 1 and not np.isfinite(tensor.map().astype(np.float32)).all():
                raise CheckpointError(f"{tensor.file}: tensor {name} holds NaN or infinity; it is damaged")
        multipliers = []
        for name in self._projections():
            self.projection(name)
            expected |= {f"{name}.weight", f"{name}.weight_scale"}
            if f"{name}.weight_scale" in self._tensors:
                scale = self._tensors[f"{name}.weight_scale"]
                multipliers.append(float(read_scale(scale, self.config.quantization.scale_is_multiplier)))
        ignored = {LM_HEAD}  # tied models may store their head a second time
        for name in self._tensors:
            if name not in expected | ignored and not name.endswith("rotary_emb.inv_freq"):
                raise CheckpointError(
                    f"{self._tensors[name].file}: tensor {name} belongs to no {self._kind()} model"
                )
        self._warn(multipliers)

    def _warn(self, multipliers: list[float]) -> None:
        typical = exp(sum(map(log, multipliers)) / len(multipliers)) if multipliers else 1.0
        if typical > _IMPLAUSIBLE_MULTIPLIER:
            linear_class = self.config.quantization.linear_class
            warnings.warn(
                f"{self.path}: weight multipliers of about {typical:.3g} are implausible and "
                f"{1 / typical:.3g} is not; check linear_class {linear_class!r} in config.json, "
                "which decides the sense of weight_scale",
                CheckpointWarning,
                stacklevel=3,
            )
        for name in (EMBEDDING,) if self.config.tie_word_embeddings else (EMBEDDING, LM_HEAD):
            if self._tensors[name].dtype != "BF16":
                dtype = self._tensors[name].dtype
                message = f"{self.path}: {name} is {dtype} and will be rounded to bfloat16"
                warnings.warn(message, CheckpointWarning, stacklevel=3)

    def _layers(self) -> Iterator[str]:
        return (f"model.layers.{layer}" for layer in range(self.config.num_hidden_layers))

    def _projections(self) -> Iterator[str]:
        return (f"{layer}.{name}" for layer in self._layers() for name in self.config.projections)

    def _float(self, name: str) -> StoredTensor:
        tensor = self._find(name)
        self._expect(tensor, FLOAT_DTYPES, self._float_shape(name))
        return tensor

    def _float_shape(self, name: str) -> tuple[int, ...]:
        if name in (EMBEDDING, LM_HEAD):
            return (self.config.vocab_size, self.config.hidden_size)
        if name == FINAL_NORM:
            return (self.config.hidden_size,)
        return (self.layer_norms()[name.split(".", 3)[-1].removesuffix(".weight")],)

    def _find(self, name: str) -> StoredTensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise CheckpointError(
                f"{self.path}: tensor {name} is missing; a {self._kind()} checkpoint needs it"
            )
        return tensor

    def _expect(self, tensor: StoredTensor, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> None:
        if tensor.dtype not in dtypes or tensor.shape != shape:
            found = f"{tensor.dtype} {list(tensor.shape)}"
            wanted = f"{' or '.join(dtypes)} {list(shape)}"
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.name} is {found}, expected {wanted} as config.json says"
            )

    def _kind(self) -> str:
        return self.config.family.architecture


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Open a checkpoint folder, or the hub repository "owner/name" through its cache.

    Raises ConfigError, CheckpointError, TokenizerError, ChatTemplateError or HubError; each names the file.
    """
    folder = locate(source)
    config = read_config(folder)
    name = folder.resolve().name if Path(source).is_dir() else str(source).rpartition("/")[2]
    checkpoint = Checkpoint(name, folder, config, TensorFiles(folder), read_tokenizer(folder, config))
    checkpoint.verify()
    return checkpoint


def builtin_model() -> Path:
    """The folder of the small model that comes with edgebit."""
    folder = Path(__file__).parent / "builtin"
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: the built-in model is not part of this installation; name a model instead"
        )
    return folder
