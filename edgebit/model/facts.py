"""What the graph needs to know about a model, as `config.py` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from edgebit.model.families import Family

ATTENTION_PROJECTIONS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP_PROJECTIONS = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


@dataclass(frozen=True)
class QuantizationConfig:
    """``quantization_config`` with quant_method "bitnet"; defaults as in transformers' BitNetQuantConfig.

    ``linear_class`` decides which way a stored ``weight_scale`` goes (SPEC 1.3): "autobitlinear" stores the
    multiplier, "bitlinear" its reciprocal. ``products``: there is none, and weights are floats that already
    are products of scales and trits. ``activations``: what projections do to their input, "int8" or "none",
    where the file says; transformers knows no such entry.
    """

    linear_class: str
    products: bool = False
    activations: str | None = None

    @property
    def scale_is_multiplier(self) -> bool:
        return self.linear_class == "autobitlinear"


@dataclass(frozen=True)
class ProjectionNorm:
    """The norm that every projection has of its own: ``<projection>.<name>.weight``."""

    name: str
    eps: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Rotary frequencies of Llama 3.1: wavelengths above ``original_positions / low_freq_factor`` are
    ``factor`` times as long, those below ``original_positions / high_freq_factor`` as they were.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only ternary language model. Sizes count features, max_position_embeddings tokens.

    ``layer_windows``: how many tokens up to its own a token of each layer sees; 0: all.
    ``local_rope_theta``: theta of the layers with a window. ``attention_scale`` multiplies scores.
    ``biased``: the projections that add a bias. ``activation_quantization``: what projections do to their
    input, "int8" or "none".
    """

    family: Family
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    hidden_act: str
    tie_word_embeddings: bool
    quantization: QuantizationConfig
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    attention_scale: float
    layer_windows: tuple[int, ...]
    local_rope_theta: float
    rope_scaling: Llama3Scaling | None = None
    projection_norm: ProjectionNorm | None = None
    biased: tuple[str, ...] = ()
    activation_quantization: str = "int8"

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Every ternary linear of a layer with its shape [out_features, in_features]."""
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "self_attn.q_proj": (self.query_size, hidden),
            "self_attn.k_proj": (self.key_value_size, hidden),
            "self_attn.v_proj": (self.key_value_size, hidden),
            "self_attn.o_proj": (hidden, self.query_size),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }

    @property
    def norms(self) -> dict[str, int]:
        """Every norm of a layer, relative to "model.layers.N.", with its size."""
        family = self.family
        norms = {family.attention_norm: self.hidden_size, family.mlp_norm: self.hidden_size}
        optional = {
            family.attention_sub_norm: self.query_size,
            family.attention_post_norm: self.hidden_size,
            family.mlp_sub_norm: self.intermediate_size,
            family.mlp_post_norm: self.hidden_size,
            family.query_norm: self.head_dim,
            family.key_norm: self.head_dim,
        }
        norms |= {name: size for name, size in optional.items() if name is not None}
        if self.projection_norm is not None:
            own = self.projection_norm.name
            norms |= {f"{linear}.{own}": columns for linear, (_, columns) in self.projections.items()}
        return norms
