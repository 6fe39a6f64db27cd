"""config.json as facts: everything the graph needs to know about a model, checked once.

``auto_map`` is ignored: remote code is never loaded. What edgebit cannot compute exactly is refused here with
the key and the value, not dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.facts import (
    ATTENTION_PROJECTIONS,
    MLP_PROJECTIONS,
    ModelConfig,
    ProjectionNorm,
    QuantizationConfig,
)
from edgebit.model.families import ACTIVATION_QUANTIZATIONS, ACTIVATIONS, Family, find_family
from edgebit.model.foreign import describe
from edgebit.model.json_entries import Entries
from edgebit.model.jsonfile import quoted, read_json
from edgebit.model.rope_config import read_rotary
from edgebit.model.tensor_files import SINGLE_FILE

__all__ = ["ModelConfig", "QuantizationConfig", "config_from", "read_config", "token_ids"]

_ACTIVATION_NAMES = {"gelu_pytorch_tanh": "gelu_tanh"}  # of transformers, where they are others
_MOST_LAYERS, _MOST_POSITIONS, _MOST_TOKENS = 1 << 12, 1 << 20, 1 << 31
_DEFAULT_PROJECTION_NORM_EPS = 1e-6  # of BitNetQuantConfig


def read_config(folder: Path) -> ModelConfig:
    """Read ``folder``/config.json. Raises ConfigError with the key, what was found and what is supported."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: no config.json; expected a folder in the layout of Hugging Face transformers, but "
            f"{'model.safetensors stands alone' if (folder / SINGLE_FILE).is_file() else describe(folder)}"
        )
    return config_from(read_json(path), str(path))


def config_from(values: Mapping[str, Any], source: str) -> ModelConfig:
    """The model that the entries of a config.json describe; ``source`` is named in errors."""
    return _Reader(source, values).model()


def token_ids(value: Any, source: str) -> tuple[int, ...]:
    """An eos_token_id entry, which may be absent, one id or a list of ids."""
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < _MOST_TOKENS for i in ids):
        raise ConfigError(
            f"{source}: token id {quoted(value)} is not a non-negative integer or a list of them"
        )
    return tuple(ids)


class _Reader(Entries):
    """The entries of one config.json."""

    def model(self) -> ModelConfig:
        self.names("architectures")
        family = find_family(self.values, self.source)
        self._refuse_unsupported()
        heads = self.size("num_attention_heads")
        hidden = self.size("hidden_size")
        head_dim = self.size("head_dim", default=family.default_head_dim or hidden // heads)
        layers = self.size("num_hidden_layers", most=_MOST_LAYERS)
        eps = self.positive("rms_norm_eps", self.values.get("rms_norm_eps", 1e-6))
        rotary = read_rotary(self, family)
        quantization = self._quantization(family)
        config = ModelConfig(
            family=family,
            hidden_size=hidden,
            intermediate_size=self.size("intermediate_size"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=self.size("num_key_value_heads", default=heads),
            head_dim=head_dim,
            vocab_size=self.size("vocab_size"),
            max_position_embeddings=self.size(
                "max_position_embeddings", family.default_max_positions, _MOST_POSITIONS
            ),
            rms_norm_eps=eps,
            rope_theta=rotary.theta,
            hidden_act=self._activation(family),
            tie_word_embeddings=self.flag("tie_word_embeddings", family.default_tied),
            quantization=quantization,
            bos_token_id=next(
                iter(token_ids(self.values.get("bos_token_id"), f"{self.source}: bos_token_id")), None
            ),
            eos_token_ids=token_ids(self.values.get("eos_token_id"), f"{self.source}: eos_token_id"),
            attention_scale=self._query_scalar(family, head_dim) ** -0.5,
            layer_windows=self._windows(family, layers),
            local_rope_theta=rotary.local_theta,
            rope_scaling=rotary.scaling,
            projection_norm=self._projection_norm(family, eps),
            biased=self._biased(),
            activation_quantization=quantization.activations or family.activation_quantization,
        )
        self._check_shapes(config)
        return config

    def _activation(self, family: Family) -> str:
        given = self.values.get("hidden_activation", self.values.get("hidden_act", family.default_activation))
        activation = _ACTIVATION_NAMES.get(str(given), given)
        if activation not in ACTIVATIONS:
            raise self.error(f"hidden_act {given!r} is not supported; supported are {', '.join(ACTIVATIONS)}")
        return str(activation)

    def _query_scalar(self, family: Family, head_dim: int) -> float:
        if not family.query_scalar:
            return head_dim
        return self.positive("query_pre_attn_scalar", self.values.get("query_pre_attn_scalar"))

    def _windows(self, family: Family, layers: int) -> tuple[int, ...]:
        """Of each layer, by ``layer_types`` or by the family's pattern."""
        kinds = self.values.get("layer_types")
        if kinds is None:
            if self.values.get("use_sliding_window", False):
                raise self.error("use_sliding_window true needs layer_types")
            pattern = family.sliding_pattern and self.size(
                "sliding_window_pattern", default=family.sliding_pattern
            )
            kinds = [
                "sliding_attention" if pattern and (layer + 1) % pattern else "full_attention"
                for layer in range(layers)
            ]
        if not isinstance(kinds, list) or len(kinds) != layers:
            raise self.error(f"layer_types is {kinds!r}, expected a list of {layers} names")
        unknown = [kind for kind in kinds if kind not in ("sliding_attention", "full_attention")]
        if unknown:
            raise self.error(f"layer_types names {unknown[0]!r}; known are full_attention, sliding_attention")
        return tuple(self.size("sliding_window") if kind == "sliding_attention" else 0 for kind in kinds)

    def _quantization(self, family: Family) -> QuantizationConfig:
        entry = self.object("quantization_config")
        if "bits" in self.object("quantization"):
            raise self.error("its weights are packed by MLX; take the model that they were made from")
        if not entry and family.is_ternary:
            for key, expected in (("weight_bits", 1), ("input_bits", 8)):
                if self.values.get(key, expected) != expected:
                    raise self.error(f"{key} is {self.values[key]!r}, expected {expected}")
            return QuantizationConfig(linear_class="autobitlinear")
        if not entry and family.float_products:
            return QuantizationConfig("autobitlinear", products=True, activations="none")
        method = entry.get("quant_method")
        if method != "bitnet":
            found = f"quant_method {quoted(method)}" if entry else "no quantization_config"
            raise self.error(
                f"{found}, expected quant_method 'bitnet': edgebit compiles models that were trained "
                "ternary, and no conversion makes others so"
            )
        linear_class = entry.get("linear_class", "bitlinear")
        if linear_class not in ("bitlinear", "autobitlinear"):
            raise self.error(
                f"linear_class {linear_class!r} is not known; known are bitlinear, autobitlinear"
            )
        skipped = set(Entries(self.source, entry).names("modules_to_not_convert")) - {"lm_head"}
        if skipped:
            raise self.error(f"modules_to_not_convert names {sorted(skipped)}; supported is lm_head alone")
        activations = entry.get("activation_quantization")
        if activations not in (None, *ACTIVATION_QUANTIZATIONS):
            raise self.error(
                f"activation_quantization {quoted(activations)} is not known; known are "
                f"{', '.join(ACTIVATION_QUANTIZATIONS)}"
            )
        return QuantizationConfig(linear_class, activations=activations)

    def _projection_norm(self, family: Family, eps: float) -> ProjectionNorm | None:
        """The family's, or the one inside transformers' BitLinear with ``use_rms_norm``."""
        entry = self.object("quantization_config")
        if entry.get("use_rms_norm", False):
            own = entry.get("rms_norm_eps", _DEFAULT_PROJECTION_NORM_EPS)
            return ProjectionNorm("rms_norm", self.positive("quantization_config.rms_norm_eps", own))
        return None if family.projection_norm is None else ProjectionNorm(family.projection_norm, eps)

    def _biased(self) -> tuple[str, ...]:
        attention = ATTENTION_PROJECTIONS if self.values.get("attention_bias", False) else ()
        return attention + (MLP_PROJECTIONS if self.values.get("mlp_bias", False) else ())

    def _refuse_unsupported(self) -> None:
        if self.values.get("pretraining_tp", 1) != 1:
            raise self.error(f"pretraining_tp {self.values['pretraining_tp']} is not supported, expected 1")
        for key in ("final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention"):
            if self.values.get(key):
                raise self.error(f"{key} {self.values[key]!r} is not supported, expected null")

    def _check_shapes(self, config: ModelConfig) -> None:
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        if "head_dim" not in self.values and config.hidden_size % heads:
            raise self.error(
                f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads {heads}"
            )
        if heads % groups:
            raise self.error(f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}")
        if config.head_dim % 2:
            raise self.error(f"head_dim {config.head_dim} is odd: rotary embedding needs halves")
        # Four rows share a byte of the packed checkpoint and four columns a byte of the graph's weights.
        for key in ("hidden_size", "intermediate_size"):
            if getattr(config, key) % 4:
                raise self.error(f"{key} {getattr(config, key)} is not a multiple of 4, as packed trits need")
        if config.query_size % 4 or config.key_value_size % 4:
            raise self.error(f"heads of {config.head_dim} features do not pack: need a multiple of 4 rows")
