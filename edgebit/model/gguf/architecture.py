"""What a GGUF file is: one `Architecture` per kind of file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edgebit.errors import CheckpointWarning, ConfigError
from edgebit.model.gguf.container import GgufFile, GgufTensor
from edgebit.model.gguf.metadata import Metadata
from edgebit.model.gguf.names import GEMMA3_NORMS, NORMS
from edgebit.model.gguf.tensor_types import GROUP_TYPES, TQ1_0, TQ2_0
from edgebit.model.gguf.trits import ternary_tensor
from edgebit.model.overrides import Overrides


@dataclass(frozen=True)
class Architecture:
    """``name``: general.architecture. ``model``: the architecture in transformers' words. ``activation``:
    what the feed-forward computes where the file does not say. ``permuted``: whether rows of query and key
    projections are in the order of llama.cpp's interleaved rotation. ``model_type``: as of config.json.
    ``activation_quantization``: None where files of the architecture may be models of either kind.
    ``norms``: names of those of a layer. ``norms_hold_offset``: converters add the 1 of "1 + weight".
    ``label``: what it is called in messages, if not by its name.
    """

    name: str
    model: str
    activation: str
    permuted: bool = False
    model_type: str | None = None
    activation_quantization: str | None = "int8"
    norms: Mapping[str, str] = field(default_factory=lambda: NORMS)
    norms_hold_offset: bool = False
    label: str | None = None

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
        Architecture(
            "gemma3",
            "Gemma3ForCausalLM",
            "gelu_tanh",
            model_type="gemma3_text",
            activation_quantization=None,
            norms=GEMMA3_NORMS,
            norms_hold_offset=True,
        ),
    )
}
# microsoft/bitnet-embedding-0.6b is "qwen3" with a norm before every projection.
EMBEDDERS: Mapping[str, Architecture] = {
    "qwen3": Architecture("qwen3", "Qwen3Model", "silu", model_type="qwen3")
}
_OWN_NORM = "blk.0.attn_q_norm_in.weight"
_MODELS = {"bitnet": "BitNetForCausalLM", "llama": "LlamaForCausalLM"}  # by --model-family


def find_architecture(file: GgufFile, overrides: Overrides) -> Architecture:
    """Raises ConfigError for one that is not known where no family is given."""
    metadata = file.metadata
    parts = metadata.integer("split.count", 1)
    if parts > 1:
        raise ConfigError(
            f"{metadata.source}: is one of {parts} files of a model; join them: llama-gguf-split --merge "
            "with the first of them and a name for the whole"
        )
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
        return replace(found, model=_MODELS[family], label=f"{family} (--model-family)")
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
    # Microsoft's converter wrote norms as they are first and 1 + weight later; windows it never wrote.
    if name == "gemma3":
        raise ConfigError(
            f"{metadata.source}: gemma3 with {_OWN_NORM}: such files do not say which layers see a window, "
            "of how many tokens and with what theta, nor whether norms hold weights or 1 + weight; compile "
            "the safetensors of the model (bitnet-embedding-270m)"
        )
    if name not in EMBEDDERS:
        raise ConfigError(
            f"{metadata.source}: architecture {name} with {_OWN_NORM} is not supported; supported is "
            f"{', '.join(EMBEDDERS)}"
        )
    return EMBEDDERS[name]
