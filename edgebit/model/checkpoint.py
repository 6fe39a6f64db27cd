"""A checkpoint: configuration, tokenizer, and weights that stay in their mapped files until asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError, CheckpointWarning, ConfigError, UsageError
from edgebit.model.config import ModelConfig, read_config
from edgebit.model.gguf import open_gguf
from edgebit.model.hub import GGUF_SUFFIX, locate
from edgebit.model.overrides import AS_THE_FILE_SAYS, Overrides
from edgebit.model.pooling import MODULES_FILE, read_pooling
from edgebit.model.tables import bfloat16_table
from edgebit.model.tensor_files import StoredTensor, TensorFiles
from edgebit.model.ternary import TernaryTensor
from edgebit.model.tokenizer import TokenizerFiles, read_tokenizer
from edgebit.model.weights import EMBEDDING, FINAL_NORM, LM_HEAD, FolderWeights, Weights

_IMPLAUSIBLE_MULTIPLIER = 16.0  # real multipliers: 0.005 … 5; a reciprocal taken for one: 50 … 200


class Checkpoint:
    """An opened checkpoint: its tensors are mapped when they are asked for and not kept."""

    def __init__(
        self,
        name: str,
        path: Path,
        config: ModelConfig,
        weights: Weights,
        tokenizer: TokenizerFiles,
        overrides: Overrides = AS_THE_FILE_SAYS,
        pooling: str | None = None,
    ) -> None:
        """``pooling``: how hidden states become the embedding of a text, None: the model has logits."""
        self.name = name
        self.path = path
        self.config = config
        self.tokenizer = tokenizer
        self.overrides = overrides
        self.pooling = pooling
        self._weights = weights
        self._tables: dict[str, npt.NDArray[Any]] = {}

    def projection(self, name: str) -> TernaryTensor:
        """The ternary matrix of a linear like "model.layers.0.self_attn.q_proj"."""
        return self._weights.projection(name, self.config.projections[name.split(".", 3)[-1]])

    def stored_name(self, name: str) -> str:
        """What the files call a tensor."""
        return self._weights.label(name)

    def float_tensor(self, name: str) -> npt.NDArray[Any]:
        """A norm weight, a bias, the embedding or the head as a view of its file, in the dtype it is stored
        in.
        """
        return self._float(name).map()

    def bfloat16_rows(self, name: str) -> npt.NDArray[Any]:
        """An embedding-like matrix in bfloat16: the mapped file itself, or a rounded copy of other floats,
        which is mapped too. Warns where rounding changed values.
        """
        if name not in self._tables:
            self._tables[name] = bfloat16_table(self._float(name))
        return self._tables[name]

    def rotary_divisors(self) -> npt.NDArray[np.float32] | None:
        """What rotary frequencies are divided by, float32 [head_dim / 2], if the files hold that: converters
        to GGUF write the scaling of Llama 3 so. Raises CheckpointError for one that is not positive.
        """
        name = self._weights.rotary_divisors
        if name is None or name not in self._weights:
            return None
        stored = self._float(name)
        divisors = stored.map().astype(np.float32)
        if not (np.isfinite(divisors) & (divisors > 0)).all():
            raise CheckpointError(f"{stored.file}: tensor {stored.name} holds numbers that are not positive")
        return divisors

    def layer_norms(self) -> dict[str, int]:
        """Every norm of a layer, relative to "model.layers.N.", with its size."""
        return self.config.norms

    def norm_weight(self, name: str) -> npt.NDArray[np.float32]:
        """What normalised features are multiplied by, float32: the stored weight plus the family's offset."""
        stored = self.float_tensor(f"{name}.weight").astype(np.float32)
        own = self.config.projection_norm
        if own is not None and name.endswith(f"_proj.{own.name}"):
            return stored
        return stored + np.float32(self.config.family.norm_offset)

    def bias(self, name: str) -> npt.NDArray[np.float32]:
        """What a projection like "model.layers.0.self_attn.q_proj" adds, float32 [out_features]."""
        return self._weights.bias(name, self.projection(name))

    def verify(self) -> None:
        """Check presence, dtype and shape of every tensor, reading scales and norms alone.

        Raises CheckpointError naming the first that is wrong, missing, or of another kind of model.
        """
        expected = {EMBEDDING, FINAL_NORM}
        if not self.config.tie_word_embeddings and not self.pooling:
            expected.add(LM_HEAD)
        for layer in self._layers():
            expected |= {f"{layer}.{norm}.weight" for norm in self.layer_norms()}
            expected |= {f"{layer}.{linear}.bias" for linear in self.config.biased}
        if self.rotary_divisors() is not None:
            expected.add(str(self._weights.rotary_divisors))
        for name in sorted(expected):
            tensor = self._float(name)
            if len(tensor.shape) == 1 and not np.isfinite(tensor.map().astype(np.float32)).all():
                raise CheckpointError(
                    f"{tensor.file}: tensor {tensor.name} holds NaN or infinity; it is damaged"
                )
        multipliers = []
        for name in self.projection_names():
            projection = self.projection(name)
            projection.check()
            expected |= {f"{name}.weight", f"{name}.weight_scale"}
            if not projection.scale_is_computed and projection.scales.any():
                multipliers.append(float(projection.scales.mean()))
        ignored = {LM_HEAD}  # tied models may store their head a second time, embeddings need none
        for name, tensor in self._weights.items():
            if name not in expected | ignored and not name.endswith("rotary_emb.inv_freq"):
                raise CheckpointError(
                    f"{tensor.file}: tensor {tensor.name} belongs to no {self._weights.kind} model"
                )
        self._warn(multipliers)

    def _warn(self, multipliers: list[float]) -> None:
        typical = exp(sum(map(log, multipliers)) / len(multipliers)) if multipliers else 1.0
        if typical > _IMPLAUSIBLE_MULTIPLIER:
            warnings.warn(
                f"{self.path}: weight multipliers of about {typical:.3g} are implausible and "
                f"{1 / typical:.3g} is not; {self._weights.scale_advice()}",
                CheckpointWarning,
                stacklevel=3,
            )

    def _layers(self) -> Iterator[str]:
        return (f"model.layers.{layer}" for layer in range(self.config.num_hidden_layers))

    def projection_names(self) -> Iterator[str]:
        """ "model.layers.0.self_attn.q_proj" and so on, layer by layer."""
        return (f"{layer}.{name}" for layer in self._layers() for name in self.config.projections)

    def _float(self, name: str) -> StoredTensor:
        config, weights = self.config, self._weights
        if name in (EMBEDDING, LM_HEAD):
            return weights.table(name, (config.vocab_size, config.hidden_size))
        if name == FINAL_NORM:
            return weights.vector(name, config.hidden_size)
        if name == weights.rotary_divisors:
            return weights.vector(name, config.head_dim // 2)
        part, _, kind = name.split(".", 3)[-1].rpartition(".")
        return weights.vector(name, config.projections[part][0] if kind == "bias" else config.norms[part])


def open_checkpoint(source: str | Path, overrides: Overrides = AS_THE_FILE_SAYS) -> Checkpoint:
    """Open a checkpoint folder, a .gguf file, or the hub repository "owner/name[@revision]" through its
    cache.

    Raises ConfigError, CheckpointError, TokenizerError, ChatTemplateError or HubError; each names the
    file. UsageError for overrides of what the files do say.
    """
    found = locate(source)
    if found.suffix == GGUF_SUFFIX:
        checkpoint = _gguf_checkpoint(found, overrides)
    elif overrides.describe_gguf():
        given = ", ".join(overrides.describe_gguf())
        raise UsageError(f"{found}: {given} is for GGUF files; config.json says what this model is")
    else:
        name = (
            found.resolve().name
            if Path(source).is_dir()
            else str(source).rpartition("/")[2].replace("@", "-")
        )
        checkpoint = _folder_checkpoint(found, name, overrides)
    checkpoint.verify()
    return checkpoint


def _folder_checkpoint(folder: Path, name: str, overrides: Overrides) -> Checkpoint:
    config = read_config(folder)
    if overrides.activation_quantization is not None:
        if not config.quantization.products:
            raise UsageError(
                f"{folder}: activation_quantization {overrides.activation_quantization} is for models whose "
                "config.json has no quantization_config; here it says what the model is"
            )
        config = replace(config, activation_quantization=overrides.activation_quantization)
    weights = FolderWeights(
        TensorFiles(folder),
        config.family.architecture,
        config.quantization,
        config.family.tensor_prefix,
    )
    pooling = require_pooling(overrides.pooling or read_pooling(folder), config, folder)
    return Checkpoint(name, folder, config, weights, read_tokenizer(folder, config), overrides, pooling)


def _gguf_checkpoint(path: Path, overrides: Overrides) -> Checkpoint:
    config, weights, tokenizer, said = open_gguf(path, overrides)
    pooling = require_pooling(overrides.pooling or said, config, path)
    return Checkpoint(path.stem, path, config, weights, tokenizer, overrides, pooling)


def require_pooling(pooling: str | None, config: ModelConfig, source: Path) -> str | None:
    """Raises ConfigError where a family that makes embeddings does not say how: no guess is as good."""
    family = config.family
    said_in = "pooling_type" if source.suffix == GGUF_SUFFIX else MODULES_FILE
    if pooling is None and family.task == "embed":
        raise ConfigError(
            f"{source}: nothing here says how a {family.architecture} pools its states (no {said_in}); "
            "say it with --pooling last or --pooling mean"
        )
    return pooling


def builtin_model() -> Path:
    """The folder of the small model that comes with edgebit."""
    folder = Path(__file__).parent / "builtin"
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: the built-in model is not part of this installation; name a model instead"
        )
    return folder
