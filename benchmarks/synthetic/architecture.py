"""The architectures that can be drawn, as config.json and as a table of tensors (SPEC 1.1, 1.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

SPECIAL_TOKENS = 256  # of Llama 3, at the end of the vocabulary
BYTES = 256
ITEM_SIZES = {"BF16": 2, "U8": 1}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of model.safetensors; ``dtype`` in the words of that format."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Architecture:
    """A BitNetForCausalLM in the packed layout. ``vocab_size`` includes the special tokens."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float

    @property
    def first_special_token(self) -> int:
        return self.vocab_size - SPECIAL_TOKENS

    @property
    def projections(self) -> Mapping[str, tuple[int, int]]:
        """The ternary linears of a layer: [out_features, in_features]."""
        hidden, inner = self.hidden_size, self.intermediate_size
        key_value = hidden // self.num_attention_heads * self.num_key_value_heads
        return {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (key_value, hidden),
            "self_attn.v_proj": (key_value, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }

    @property
    def layer_norms(self) -> Mapping[str, int]:
        return {
            "input_layernorm": self.hidden_size,
            "post_attention_layernorm": self.hidden_size,
            "self_attn.attn_sub_norm": self.hidden_size,
            "mlp.ffn_sub_norm": self.intermediate_size,
        }

    def tensors(self) -> list[TensorEntry]:
        """All tensors in file order: as safetensors does, wide dtypes first, which aligns them all."""
        hidden = self.hidden_size
        entries = [
            TensorEntry("model.embed_tokens.weight", "BF16", (self.vocab_size, hidden)),
            TensorEntry("model.norm.weight", "BF16", (hidden,)),
        ]
        for layer in range(self.num_hidden_layers):
            prefix = f"model.layers.{layer}"
            for norm, size in self.layer_norms.items():
                entries.append(TensorEntry(f"{prefix}.{norm}.weight", "BF16", (size,)))
            for linear, (rows, columns) in self.projections.items():
                entries.append(TensorEntry(f"{prefix}.{linear}.weight_scale", "BF16", (1,)))
                entries.append(TensorEntry(f"{prefix}.{linear}.weight", "U8", (rows // 4, columns)))
        return sorted(entries, key=lambda entry: (-ITEM_SIZES[entry.dtype], entry.name))

    def config(self) -> dict[str, Any]:
        """config.json. The published file has an auto_map too, of files that its repository lacks."""
        return {
            "architectures": ["BitNetForCausalLM"],
            "bos_token_id": self.first_special_token,
            "eos_token_id": self.first_special_token + 1,
            "hidden_act": "relu2",
            "hidden_size": self.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": "bitnet",
            "num_attention_heads": self.num_attention_heads,
            "num_hidden_layers": self.num_hidden_layers,
            "num_key_value_heads": self.num_key_value_heads,
            "quantization_config": {
                "linear_class": "autobitlinear",
                "quant_method": "bitnet",
                "quantization_mode": "offline",
            },
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": self.vocab_size,
        }


ARCHITECTURES: Mapping[str, Architecture] = {
    "2b4t": Architecture(
        name="2b4t",
        hidden_size=2560,
        intermediate_size=6912,
        num_hidden_layers=30,
        num_attention_heads=20,
        num_key_value_heads=5,
        vocab_size=128256,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
    ),
}
