"""GGUF files: container, tensor types, and the vocabulary inside, as the parts of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgebit.errors import UsageError
from edgebit.model.config import ModelConfig
from edgebit.model.gguf.architecture import activation_quantization, find_architecture
from edgebit.model.gguf.container import read_gguf
from edgebit.model.gguf.model_config import model_config, read_pooling_type
from edgebit.model.gguf.tensor_types import I2_S
from edgebit.model.gguf.vocabulary import read_vocabulary
from edgebit.model.gguf.weights import GgufWeights
from edgebit.model.overrides import I2S_BLOCKS, Overrides
from edgebit.model.tokenizer import TOKENIZER_FILE, TokenizerFiles, read_tokenizer


def open_gguf(
    path: Path, overrides: Overrides
) -> tuple[ModelConfig, GgufWeights, TokenizerFiles, str | None]:
    """What a .gguf file says and holds, and how it pools states, if it says that.

    Raises CheckpointError, ConfigError, TokenizerError or UsageError.
    """
    file = read_gguf(path)
    architecture = find_architecture(file, overrides)
    config = replace(
        model_config(file, architecture, overrides.activation),
        activation_quantization=activation_quantization(file, architecture, overrides),
    )
    i2s_block = overrides.i2s_block
    if i2s_block is not None and not any(tensor.dtype == I2_S for tensor in file.tensors.values()):
        raise UsageError(f"{path}: i2s_block {i2s_block} is for I2_S files, and no tensor here is I2_S")
    weights = GgufWeights(file, architecture, config, i2s_block or I2S_BLOCKS[0])
    biased = tuple(linear for linear in config.projections if f"model.layers.0.{linear}.bias" in weights)
    config = replace(config, biased=biased)
    if (path.parent / TOKENIZER_FILE).is_file():
        tokenizer = read_tokenizer(path.parent, config)
    else:
        tokenizer = read_vocabulary(path, file.metadata, config.vocab_size)
    return config, weights, tokenizer, read_pooling_type(file.metadata)
