"""Tiny checkpoints of families that transformers has classes for, written by transformers itself.

A plain model of the class is drawn and saved in bfloat16; ``quantization_config`` then makes its linear
layers AutoBitLinear when it is loaded, here and there: masters, absmean. "NAME, autobitlinear" and "NAME,
bitlinear" are the same model packed by transformers' own functions, for the layers that unpack it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BitNetConfig,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
)
from transformers.integrations.bitnet import WeightQuant, pack_weights

from tests.builders import (
    BOS,
    END_OF_TEXT,
    LAYOUTS,
    TINY,
    change_json,
    change_tensors,
    special_id,
    write_checkpoint,
    write_tokenizer,
)

VOCABULARY = 320
SIZES: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "bos_token_id": special_id(VOCABULARY, BOS),
    "eos_token_id": special_id(VOCABULARY, END_OF_TEXT),
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Recipe:
    """``config``: the class and what is not in SIZES. ``own_norm``: of every projection."""

    config: Callable[..., PreTrainedConfig]
    values: Mapping[str, Any] = field(default_factory=dict)
    own_norm: bool = False


GEMMA3: Mapping[str, Any] = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 20,
    "query_pre_attn_scalar": 48,
    "tie_word_embeddings": True,
}
GEMMA3_SEVEN: Mapping[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 7,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "sliding_window": 20,
    "query_pre_attn_scalar": 64,
    "tie_word_embeddings": True,
}
ROPE = {
    "rope_type": "llama3",
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
BITNET_SILU: Mapping[str, Any] = {
    "hidden_size": 80,
    "head_dim": 20,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
FALCON_E: Mapping[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "rope_theta": 1000042.0,
    "rms_norm_eps": 1e-5,
}
RECIPES: Mapping[str, Recipe] = {
    "qwen3": Recipe(Qwen3Config, {"hidden_size": 96, "tie_word_embeddings": True}),
    "qwen3 rms_norm": Recipe(Qwen3Config, {"tie_word_embeddings": False}, own_norm=True),
    # heads of 20 features, which are no multiple of 16 as in 1bitLLM 3B
    "bitnet silu": Recipe(BitNetConfig, BITNET_SILU),
    "llama rms_norm": Recipe(LlamaConfig, {"rms_norm_eps": 1e-5}, own_norm=True),
    "qwen3 biases": Recipe(Qwen3Config, {"attention_bias": True, "tie_word_embeddings": True}),
    "gemma3": Recipe(Gemma3TextConfig, GEMMA3),
    # as llama.cpp knows it: every sixth layer sees all, scores are scaled by the heads; rows of 256 columns
    "gemma3 of seven layers": Recipe(Gemma3TextConfig, GEMMA3_SEVEN),
    "gemma3 rms_norm": Recipe(Gemma3TextConfig, GEMMA3, own_norm=True),
    "llama rope": Recipe(LlamaConfig, {"rope_scaling": ROPE, "rope_theta": 1000.0}),
    "llama biases": Recipe(LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    # as tiiuae/Falcon-E-*: heads wider than hidden_size / heads, one for eight of queries, own lm_head
    "falcon-e": Recipe(LlamaConfig, FALCON_E),
}


def is_packed(name: str) -> bool:
    """Whether the checkpoint of that name holds uint8, which transformers loads in bfloat16 alone."""
    return name.removesuffix(" with biases") in ("packed", "llama") or ", " in name


def write_family(folder: Path, name: str, seed: int = 0) -> Path:
    """Write the checkpoint of a recipe, or "recipe, linear_class" of it, into ``folder`` and return it."""
    recipe_name, _, linear_class = name.partition(", ")
    recipe = RECIPES[recipe_name]
    torch.manual_seed(seed)
    config = recipe.config(**{**SIZES, **recipe.values})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parameter.copy_(_drawn(parameter_name, parameter))
    model.save_pretrained(folder)
    write_tokenizer(folder, VOCABULARY)
    quantization: dict[str, Any] = {
        "quant_method": "bitnet",
        "linear_class": "autobitlinear",
        "quantization_mode": "online",
    }
    if recipe.own_norm:
        quantization |= {"use_rms_norm": True, "rms_norm_eps": 0.25}
        change_tensors(folder, **_own_norms(model, seed))
    if linear_class:
        change_tensors(folder, **_packed(model, linear_class))
        quantization |= {"quantization_mode": "offline"}
    if linear_class == "bitlinear":  # said by silence in the files of Falcon3, Falcon-E and HF1BitLLM
        quantization |= {"linear_class": None, "modules_to_not_convert": ["lm_head"]}
    quantization = {key: value for key, value in quantization.items() if value is not None}
    change_json(folder / "config.json", quantization_config=quantization)
    return folder


def write_model(folder: Path, name: str) -> tuple[Path, Path]:
    """A checkpoint of a recipe, of a layout of tests/builders.py or of "1bitllm", and one of the same model
    that transformers can read.
    """
    layout = name.removesuffix(" with biases")
    if layout in LAYOUTS:
        checkpoint = write_checkpoint(folder / "model", layout)
        if layout != name:
            _add_biases(checkpoint)
    elif name == "1bitllm":
        twin = write_family(folder / "twin", "bitnet silu")
        return write_onebitllm(folder / name, twin), twin
    else:
        checkpoint = write_family(folder / "model", name)
    return checkpoint, checkpoint


def _add_biases(folder: Path) -> None:
    """To the projections of attention."""
    random = np.random.default_rng(5)
    biases = {}
    for layer in range(TINY.layers):
        for part, heads in (("q", TINY.heads), ("k", 2), ("v", 2), ("o", TINY.heads)):
            values = 0.5 * random.standard_normal(heads * TINY.head_size)
            name = f"model.layers.{layer}.self_attn.{part}_proj.bias"
            biases[name] = values.astype(ml_dtypes.bfloat16)
    change_tensors(folder, **biases)
    change_json(folder / "config.json", attention_bias=True)


def write_onebitllm(folder: Path, source: Path) -> Path:
    """The masters of a "bitnet silu" as 1bitLLM publishes its own: float32, with other names."""
    names = {"self_attn.attn_sub_norm": "self_attn.inner_attn_ln", "mlp.ffn_sub_norm": "mlp.ffn_layernorm"}
    shutil.copytree(source, folder)
    tensors = {}
    for name, values in load_file(source / "model.safetensors").items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        tensors[name] = values.astype(np.float32)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = {"architectures": ["BitnetForCausalLM"], "model_type": "llama", "weight_bits": 1, "input_bits": 8}
    change_json(folder / "config.json", quantization_config=None, head_dim=None, **said)
    return folder


def _drawn(name: str, parameter: torch.Tensor) -> torch.Tensor:
    if "norm" in name:  # Gemma's start at 0, all others at 1
        return parameter + 0.25 * torch.randn_like(parameter)
    if name.endswith("bias"):
        return 0.5 * torch.randn_like(parameter)
    deviation = 0.1 if "embed" in name or "lm_head" in name else 0.8 / parameter.shape[-1] ** 0.5
    return deviation * torch.randn_like(parameter)


def _packed(model: torch.nn.Module, linear_class: str) -> dict[str, Any]:
    """Every projection as transformers packs it, with the scale that ``linear_class`` expects."""
    tensors: dict[str, Any] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith("_proj"):
            master = module.weight.detach().float()
            with torch.compiler.set_stance("force_eager"):
                trits = torch.sign(WeightQuant.apply(master))
            mean = master.abs().mean()
            scale = mean if linear_class == "autobitlinear" else 1 / mean
            tensors[f"{name}.weight"] = pack_weights(trits).numpy()
            tensors[f"{name}.weight_scale"] = np.array([scale]).astype(ml_dtypes.bfloat16)
    return tensors


def _own_norms(model: torch.nn.Module, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        f"{name}.rms_norm.weight": (1 + 0.25 * random.standard_normal(module.in_features)).astype(
            ml_dtypes.bfloat16
        )
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.endswith("_proj")
    }
