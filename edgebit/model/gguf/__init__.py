"""GGUF files: container, tensor types, and the vocabulary inside, as the parts of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from edgebit.model.config import ModelConfig
from edgebit.model.gguf.architecture import find_architecture, model_config
from edgebit.model.gguf.container import read_gguf
from edgebit.model.gguf.vocabulary import read_vocabulary
from edgebit.model.gguf.weights import GgufWeights
from edgebit.model.tokenizer import TOKENIZER_FILE, TokenizerFiles, read_tokenizer


def open_gguf(path: Path) -> tuple[ModelConfig, GgufWeights, TokenizerFiles]:
    """What a .gguf file says and holds. Raises CheckpointError, ConfigError or TokenizerError."""
    file = read_gguf(path)
    architecture = find_architecture(file.metadata)
    config = model_config(file, architecture)
    permuted = config.head_dim if architecture.permuted else None
    weights = GgufWeights(file, architecture.name, permuted, architecture.takes_masters, i2s_block=128)
    if (path.parent / TOKENIZER_FILE).is_file():
        return config, weights, read_tokenizer(path.parent, config)
    return config, weights, read_vocabulary(path, file.metadata, config.vocab_size)
