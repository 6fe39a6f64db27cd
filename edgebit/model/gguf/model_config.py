"""The metadata of a GGUF file as the configuration of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.config import ModelConfig, config_from
from edgebit.model.gguf.architecture import Architecture
from edgebit.model.gguf.container import GgufFile
from edgebit.model.gguf.keys import ArchitectureKeys
from edgebit.model.gguf.metadata import Metadata

_POOLINGS = {0: None, 1: "mean", 3: "last"}  # enum llama_pooling_type


def model_config(file: GgufFile, architecture: Architecture, activation: str | None) -> ModelConfig:
    """Raises ConfigError with the key, what was found and what is supported."""
    keys = ArchitectureKeys(file.metadata, architecture.name)
    keys.refuse_unsupported(windows=architecture.model in _OF_MODELS)
    heads = keys.integer("attention.head_count")
    hidden = keys.integer("embedding_length")
    embedding = file.tensors.get("token_embd.weight")
    values: dict[str, Any] = {
        "architectures": [architecture.model],
        "model_type": architecture.model_type,
        "hidden_size": hidden,
        "intermediate_size": keys.integer("feed_forward_length"),
        "num_hidden_layers": keys.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer("attention.head_count_kv", heads),
        "vocab_size": keys.integer("vocab_size", embedding.shape[0] if embedding else None),
        "max_position_embeddings": keys.integer("context_length"),
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": keys.number("rope.freq_base", 10000.0),
        "hidden_act": keys.activation(architecture, activation),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
        "bos_token_id": keys.token("bos_token_id"),
        "eos_token_id": keys.token("eos_token_id"),
    }
    if "attention.key_length" in keys:
        values["head_dim"] = keys.integer("attention.key_length")
    if architecture.model in _OF_MODELS:
        values |= _OF_MODELS[architecture.model](keys)
    config = config_from(values, file.metadata.source)
    keys.require_whole_heads(config.head_dim)
    if architecture.norms_hold_offset:
        config = replace(config, family=replace(config.family, norm_offset=0.0))
    return config


def _gemma3(keys: ArchitectureKeys) -> dict[str, Any]:
    """Windows, theta of layers with one and scale of scores: not all in the file, where llama.cpp knows the
    rest by the architecture.
    """
    layers, head_dim = keys.integer("block_count"), keys.integer("attention.key_length", 256)
    window = keys.integer("attention.sliding_window", 0)
    pattern = keys.integer("attention.sliding_window_pattern", 6) if window else 1
    heads = keys.integer("embedding_length") // max(keys.integer("attention.head_count"), 1)
    return {
        "head_dim": head_dim,
        "sliding_window": window or None,
        "sliding_window_pattern": pattern,
        "rope_local_base_freq": keys.number("rope.freq_base_swa", 10000.0),
        "query_pre_attn_scalar": heads if layers == _LAYERS_OF_27B else head_dim,
        "final_logit_softcapping": keys.number("final_logit_softcapping", 0.0),
    }


_LAYERS_OF_27B = 62
_OF_MODELS: Mapping[str, Callable[[ArchitectureKeys], dict[str, Any]]] = {"Gemma3ForCausalLM": _gemma3}


def read_pooling_type(metadata: Metadata) -> str | None:
    """ "last" or "mean", None where the file does not say. Raises ConfigError for another one."""
    key = f"{metadata.text('general.architecture')}.pooling_type"
    kind = metadata.integer(key, 0)
    if kind not in _POOLINGS:
        raise ConfigError(f"{metadata.source}: {key} is {kind}, expected 1 (mean) or 3 (last)")
    return _POOLINGS[kind]
