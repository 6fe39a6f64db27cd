"""The metadata of a GGUF file as the configuration of a model; one `Architecture` per kind of file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgebit.errors import CheckpointWarning, ConfigError
from edgebit.model.config import ModelConfig, config_from
from edgebit.model.gguf.container import GgufFile, GgufTensor
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.tensor_types import GROUP_TYPES, TQ1_0, TQ2_0
from edgebit.model.gguf.trits import ternary_tensor
from edgebit.model.overrides import Overrides


@dataclass(frozen=True)
class Architecture:
    """``name``: general.architecture. ``model``: the architecture in transformers' words. ``activation``:
    what the feed-forward computes where the file does not say. ``permuted``: whether rows of query and key
    projections are in the order of llama.cpp's interleaved rotation. ``model_type``: as of config.json.
    ``activation_quantization``: None where files of the architecture may be models of either kind.
    """

    name: str
    model: str
    activation: str
    permuted: bool = False
    model_type: str | None = None
    activation_quantization: str | None = "int8"

    @property
    def takes_masters(self) -> bool:
        """Whether float weights of any values are masters of ternary ones: a Llama may be any other model."""
        return self.model in ("BitNetForCausalLM", "Qwen3Model")


# Converters of Microsoft write "bitnet-b1.58" (first "bitnet-25") and no activation: 2B-4T has squared ReLU,
# whatever their engine computes. llama.cpp writes "bitnet", and an activation since it knows more than one.
ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("bitnet-b1.58", "BitNetForCausalLM", "relu2"),
        Architecture("bitnet-25", "BitNetForCausalLM", "relu2"),
        Architecture("bitnet", "BitNetForCausalLM", "silu"),
        Architecture("llama", "LlamaForCausalLM", "silu", permuted=True, activation_quantization=None),
        # PrismML's Ternary-Bonsai: groups of 64 or 128 columns, float activations.
        Architecture("qwen3", "Qwen3ForCausalLM", "silu", activation_quantization="none"),
    )
}
# microsoft/bitnet-embedding-0.6b is "qwen3" with a norm before every projection.
EMBEDDERS: Mapping[str, Architecture] = {
    "qwen3": Architecture("qwen3", "Qwen3Model", "silu", model_type="qwen3")
}
_OWN_NORM = "blk.0.attn_q_norm_in.weight"
_ACTIVATIONS = {"relu2": "relu2", "relu_sqr": "relu2", "silu": "silu"}  # names in hidden_activation


_POOLINGS = {0: None, 1: "mean", 3: "last"}  # enum llama_pooling_type
_MODELS = {"bitnet": "BitNetForCausalLM", "llama": "LlamaForCausalLM"}  # by --model-family


def find_architecture(file: GgufFile, overrides: Overrides) -> Architecture:
    """Raises ConfigError for one that is not known where no family is given."""
    metadata = file.metadata
    name, family = metadata.text("general.architecture"), overrides.model_family
    if _OWN_NORM in file.tensors and family is None:
        return _embedder(name, metadata)
    found = ARCHITECTURES.get(name)
    if found is None and family is None:
        raise ConfigError(
            f"{metadata.source}: architecture {name} is not supported; supported are "
            f"{', '.join(ARCHITECTURES)}, others with --model-family"
        )
    if family is not None:
        found = found or Architecture(name, "", "silu" if family == "llama" else "", family == "llama")
        return replace(found, model=_MODELS[family])
    assert found is not None
    return found


def activation_quantization(file: GgufFile, architecture: Architecture, overrides: Overrides) -> str:
    """ "int8" or "none": as is said, as models of the architecture are, or else by the scales: those of
    groups are of models whose activations are floats. Warns where nothing tells.
    """
    if overrides.activation_quantization is not None:
        return overrides.activation_quantization
    if architecture.activation_quantization is not None:
        return architecture.activation_quantization
    if any(_has_group_scales(tensor) for tensor in _first_projections(file)):
        return "none"
    if overrides.model_family is None:
        warnings.warn(
            f"{file.path}: the file does not say how activations are quantised; 8 bits per token are taken, "
            "as of Falcon3-1.58bit and HF1BitLLM; --activation-quantization says int8 or none (TriLM)",
            CheckpointWarning,
            stacklevel=3,
        )
    return "int8"


def _first_projections(file: GgufFile) -> Iterator[GgufTensor]:
    return (tensor for name, tensor in file.tensors.items() if name.startswith("blk.0."))


def _has_group_scales(tensor: GgufTensor) -> bool:
    blocks = tensor.dtype in (TQ1_0, TQ2_0) and ternary_tensor(tensor, 0).scales_shape != (1,)
    return blocks or tensor.dtype in GROUP_TYPES


def _embedder(name: str, metadata: Metadata) -> Architecture:
    if name == "gemma3":
        raise ConfigError(
            f"{metadata.source}: gemma3 with {_OWN_NORM}: such files do not say whether norms hold weights "
            "or 1 + weight, nor which layers see a window; compile the safetensors of the model"
        )
    if name not in EMBEDDERS:
        raise ConfigError(
            f"{metadata.source}: architecture {name} with {_OWN_NORM} is not supported; supported is "
            f"{', '.join(EMBEDDERS)}"
        )
    return EMBEDDERS[name]


def read_pooling_type(metadata: Metadata) -> str | None:
    """ "last" or "mean", None where the file does not say. Raises ConfigError for another one."""
    key = f"{metadata.text('general.architecture')}.pooling_type"
    kind = metadata.integer(key, 0)
    if kind not in _POOLINGS:
        raise ConfigError(f"{metadata.source}: {key} is {kind}, expected 1 (mean) or 3 (last)")
    return _POOLINGS[kind]


def model_config(file: GgufFile, architecture: Architecture, activation: str | None) -> ModelConfig:
    """Raises ConfigError with the key, what was found and what is supported."""
    keys = _Keys(file.metadata, architecture.name)
    keys.refuse_unsupported()
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
    config = config_from(values, file.metadata.source)
    keys.require_whole_heads(config.head_dim)
    return config


@dataclass(frozen=True)
class _Keys:
    """The keys of one architecture, "bitnet.block_count" by "block_count"."""

    metadata: Metadata
    prefix: str

    def __contains__(self, key: str) -> bool:
        return self.name(key) in self.metadata

    def name(self, key: str) -> str:
        return f"{self.prefix}.{key}"

    def integer(self, key: str, default: int | None = None) -> int:
        return self.metadata.integer(self.name(key), default)

    def number(self, key: str, default: float | None = None) -> float:
        return self.metadata.number(self.name(key), default)

    def token(self, key: str) -> int | None:
        key = f"tokenizer.ggml.{key}"
        return self.metadata.integer(key) if key in self.metadata else None

    def activation(self, architecture: Architecture, given: str | None) -> str:
        key = self.name("hidden_activation")
        if given is not None and key not in self.metadata:
            return given
        if given is None and key not in self.metadata and not architecture.activation:
            raise ConfigError(f"{self.metadata.source}: {key} is missing; say which with --activation")
        found = self.metadata.text(self.name("hidden_activation"), architecture.activation)
        if found not in _ACTIVATIONS:
            raise self.error("hidden_activation", found, " or ".join(_ACTIVATIONS))
        if given is not None and _ACTIVATIONS[found] != given:
            raise self.error("hidden_activation", found, f"{given}, which --activation says")
        return _ACTIVATIONS[found]

    def refuse_unsupported(self) -> None:
        scaling = self.metadata.text(self.name("rope.scaling.type"), "none")
        if scaling != "none":
            raise self.error("rope.scaling.type", scaling, "no scaling of the rotary embedding")
        for key in self.metadata.values:
            if key.startswith("prism.hadamard."):
                raise ConfigError(
                    f"{self.metadata.source}: {key} says that activations go through a Hadamard transform "
                    "(Bonsai 2), which edgebit does not compute; take the first Ternary-Bonsai"
                )
        for key in ("expert_count", "attention.sliding_window"):
            if self.integer(key, 0) != 0:
                raise self.error(key, self.integer(key), "0")

    def require_whole_heads(self, head_dim: int) -> None:
        """Rotary embedding over all of a head, and values as long as keys."""
        for key in ("rope.dimension_count", "attention.value_length"):
            if self.integer(key, head_dim) != head_dim:
                raise self.error(key, self.integer(key), f"{head_dim}, the features of a head")

    def error(self, key: str, found: str | int, expected: str) -> ConfigError:
        return ConfigError(f"{self.metadata.source}: {self.name(key)} is {found}, expected {expected}")
