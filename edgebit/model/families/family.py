"""What a family of models is, as data: everything of a decoder layer that config.json does not say.

The layer, with the parts that a family may have in brackets; ``P`` is one of the seven ternary projections:

    x    = E[ids] [· sqrt(hidden_size)]
    h    = norm(x, attention_norm)
    q,k,v = P(h) [heads of q and k: norm(·, query_norm | key_norm)], rotary
    a    = attention(q, k, v) [norm(·, attention_sub_norm)]
    x    = x + [norm(·, attention_post_norm)] P(a)
    h    = norm(x, mlp_norm)
    g    = activation(P(h)) · P(h) [norm(·, mlp_sub_norm)]
    x    = x + [norm(·, mlp_post_norm)] P(g)

    P(h) = W · quantize([norm(h, P.projection_norm)])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIVATIONS = ("relu2", "silu", "gelu_tanh")
TASKS = ("generate", "embed")
ACTIVATION_QUANTIZATIONS = ("int8", "none")


@dataclass(frozen=True)
class Family:
    """Names are relative to ``model.layers.N.``; a norm that the family does not have is None.

    ``architectures`` and ``model_types``: the entries of config.json that tell it (no model type: any).
    ``is_ternary``: its checkpoints are ternary without a quantization_config that says so.
    ``float_products``: those without one hold products of scales and trits, for activations that stay floats.
    ``tensor_prefix``: what stands in files where ``model.`` is in ours. ``projection_norm``: of the input of
    each projection, "norm" for ``<projection>.norm.weight``. ``norm_offset``: is added to the weight of every
    norm but those of projections. ``sliding_pattern``: of so many layers all but the last attend to a
    window, where config.json has no ``layer_types``; 0: none does. ``query_scalar``: scores are divided by
    the root of query_pre_attn_scalar, not of head_dim. ``default_local_rope_theta``: of layers with a window.
    """

    name: str
    architectures: tuple[str, ...]
    default_activation: str
    default_max_positions: int
    default_tied: bool
    model_types: tuple[str, ...] = ()
    task: str = "generate"
    is_ternary: bool = False
    float_products: bool = False
    activation_quantization: str = "int8"
    tensor_prefix: str = "model."
    attention_norm: str = "input_layernorm"
    attention_sub_norm: str | None = None
    attention_post_norm: str | None = None
    mlp_norm: str = "post_attention_layernorm"
    mlp_sub_norm: str | None = None
    mlp_post_norm: str | None = None
    projection_norm: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    norm_offset: float = 0.0
    scales_embedding: bool = False
    sliding_pattern: int = 0
    query_scalar: bool = False
    default_head_dim: int | None = None
    default_rope_theta: float = 10000.0
    default_local_rope_theta: float | None = None

    @property
    def architecture(self) -> str:
        """What a checkpoint of it is called in messages."""
        return self.architectures[0]

    def matches(self, config: Mapping[str, Any]) -> bool:
        named = any(architecture in self.architectures for architecture in config.get("architectures") or ())
        return named and (not self.model_types or config.get("model_type") in self.model_types)
