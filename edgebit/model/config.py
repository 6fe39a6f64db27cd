"""config.json as facts: everything the graph needs to know about a model, checked once.

``auto_map`` is ignored: remote code is never loaded. What edgebit cannot compute exactly is refused here with
the key and the value, not dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.families import ACTIVATIONS, Family, find_family
from edgebit.model.jsonfile import read_json


@dataclass(frozen=True)
class QuantizationConfig:
    """``quantization_config`` with quant_method "bitnet"; defaults as in transformers' BitNetQuantConfig.

    ``linear_class`` decides which way a stored ``weight_scale`` goes (SPEC 1.3): "autobitlinear" stores the
    multiplier, "bitlinear" its reciprocal.
    """

    linear_class: str

    @property
    def scale_is_multiplier(self) -> bool:
        return self.linear_class == "autobitlinear"


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only ternary language model. Sizes count features, max_position_embeddings tokens."""

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


def read_config(folder: Path) -> ModelConfig:
    """Read ``folder``/config.json. Raises ConfigError with the key, what was found and what is supported."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: no config.json; expected a folder in the layout of Hugging Face transformers"
        )
    return config_from(read_json(path), str(path))


def config_from(values: Mapping[str, Any], source: str) -> ModelConfig:
    """The model that the entries of a config.json describe; ``source`` is named in errors."""
    return _Reader(source, values).model()


def token_ids(value: Any, source: str) -> tuple[int, ...]:
    """An eos_token_id entry, which may be absent, one id or a list of ids."""
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ConfigError(f"{source}: token id {value!r} is not a non-negative integer or a list of them")
    return tuple(ids)


class _Reader:
    """Typed access to one config.json."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        self.source = source
        self.values = values

    def model(self) -> ModelConfig:
        family = find_family(self.values, self.source)
        self._refuse_unsupported()
        heads = self._size("num_attention_heads")
        hidden = self._size("hidden_size")
        config = ModelConfig(
            family=family,
            hidden_size=hidden,
            intermediate_size=self._size("intermediate_size"),
            num_hidden_layers=self._size("num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=self._size("num_key_value_heads", default=heads),
            head_dim=self._size("head_dim", default=hidden // heads),
            vocab_size=self._size("vocab_size"),
            max_position_embeddings=self._size(
                "max_position_embeddings", default=family.default_max_positions
            ),
            rms_norm_eps=self._positive("rms_norm_eps", self.values.get("rms_norm_eps", 1e-6)),
            rope_theta=self._rope_theta(),
            hidden_act=self._activation(family),
            tie_word_embeddings=bool(self.values.get("tie_word_embeddings", family.default_tied)),
            quantization=self._quantization(),
            bos_token_id=next(
                iter(token_ids(self.values.get("bos_token_id"), f"{self.source}: bos_token_id")), None
            ),
            eos_token_ids=token_ids(self.values.get("eos_token_id"), f"{self.source}: eos_token_id"),
        )
        self._check_shapes(config)
        return config

    def _error(self, message: str) -> ConfigError:
        return ConfigError(f"{self.source}: {message}")

    def _size(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self._error(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise self._error(f"{key} is {value!r}, expected a positive integer")
        return value

    def _positive(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self._error(f"{key} is {value!r}, expected a positive number")
        return float(value)

    def _activation(self, family: Family) -> str:
        activation = self.values.get("hidden_act", family.default_activation)
        if activation not in ACTIVATIONS:
            raise self._error(
                f"hidden_act {activation!r} is not supported; supported are {', '.join(ACTIVATIONS)}"
            )
        return str(activation)

    def _rope_theta(self) -> float:
        """``rope_theta``, or ``rope_parameters`` of newer files; scaled or partial rotation is refused."""
        scaling = self._object("rope_scaling")
        parameters = self._object("rope_parameters")
        for key, entry in (("rope_scaling", scaling), ("rope_parameters", parameters)):
            kind = entry.get("rope_type", entry.get("type", "default"))
            if kind != "default":
                raise self._error(
                    f"{key} of type {kind!r} is not supported; supported is unscaled rotary embedding"
                )
            if entry.get("partial_rotary_factor", 1.0) != 1.0:
                raise self._error(f"partial_rotary_factor {entry['partial_rotary_factor']} is not supported")
        theta = parameters.get("rope_theta", self.values.get("rope_theta", 10000.0))
        return self._positive("rope_theta", theta)

    def _object(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self._error(f"{key} is {value!r}, expected an object")
        return value

    def _quantization(self) -> QuantizationConfig:
        entry = self._object("quantization_config")
        method = entry.get("quant_method")
        if method != "bitnet":
            found = f"quant_method {method!r}" if entry else "no quantization_config"
            raise self._error(
                f"{found}, expected quant_method 'bitnet': edgebit compiles ternary models only"
            )
        linear_class = entry.get("linear_class", "bitlinear")
        if linear_class not in ("bitlinear", "autobitlinear"):
            raise self._error(
                f"linear_class {linear_class!r} is not known; known are bitlinear, autobitlinear"
            )
        if entry.get("use_rms_norm", False):
            raise self._error("use_rms_norm true (a norm inside every projection) is not supported")
        skipped = set(entry.get("modules_to_not_convert") or ()) - {"lm_head"}
        if skipped:
            raise self._error(f"modules_to_not_convert names {sorted(skipped)}; supported is lm_head alone")
        return QuantizationConfig(linear_class=linear_class)

    def _refuse_unsupported(self) -> None:
        for key in ("attention_bias", "mlp_bias"):
            if self.values.get(key, False):
                raise self._error(f"{key} true is not supported: projections have no bias")
        if self.values.get("pretraining_tp", 1) != 1:
            raise self._error(f"pretraining_tp {self.values['pretraining_tp']} is not supported, expected 1")

    def _check_shapes(self, config: ModelConfig) -> None:
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        if "head_dim" not in self.values and config.hidden_size % heads:
            raise self._error(
                f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads {heads}"
            )
        if heads % groups:
            raise self._error(
                f"num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}"
            )
        if config.head_dim % 2:
            raise self._error(f"head_dim {config.head_dim} is odd: rotary embedding needs halves")
        # Four rows share a byte of the packed checkpoint and four columns a byte of the graph's weights.
        for key in ("hidden_size", "intermediate_size"):
            if getattr(config, key) % 4:
                raise self._error(
                    f"{key} {getattr(config, key)} is not a multiple of 4, as packed trits need"
                )
        if config.query_size % 4 or config.key_value_size % 4:
            raise self._error(f"heads of {config.head_dim} features do not pack: need a multiple of 4 rows")
