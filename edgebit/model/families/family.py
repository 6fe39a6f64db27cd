"""The architectures edgebit reads, as data: one `Family` per kind of decoder layer, in one table.

A family states what is *not* in config.json: where the sub-norms are and how tensors are called. A new
architecture of the same layer shape is a new row; the graph builder asks the row and knows no family by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgebit.errors import ConfigError

ACTIVATIONS = ("relu2", "silu")


@dataclass(frozen=True)
class Family:
    """Names are relative to ``model.layers.N.``; a norm that the family does not have is None."""

    name: str
    architecture: str
    default_activation: str
    default_max_positions: int
    default_tied: bool
    attention_sub_norm: str | None = None
    mlp_sub_norm: str | None = None


# Defaults are those of the transformers configuration classes (5.23): they hold where config.json is silent.
FAMILIES: Mapping[str, Family] = {
    family.architecture: family
    for family in (
        Family(
            name="bitnet",
            architecture="BitNetForCausalLM",
            default_activation="relu2",
            default_max_positions=2048,
            default_tied=False,
            attention_sub_norm="self_attn.attn_sub_norm",
            mlp_sub_norm="mlp.ffn_sub_norm",
        ),
        Family(
            name="llama",
            architecture="LlamaForCausalLM",
            default_activation="silu",
            default_max_positions=2048,
            default_tied=False,
        ),
    )
}


def find_family(config: Mapping[str, Any], source: str) -> Family:
    """The family of a config.json. Raises ConfigError naming ``source`` and what is supported."""
    architectures = config.get("architectures") or []
    for architecture in architectures:
        if architecture in FAMILIES:
            return FAMILIES[architecture]
    known = ", ".join(FAMILIES)
    if not architectures:
        raise ConfigError(f'{source}: no "architectures" entry; expected one of {known}')
    raise ConfigError(
        f"{source}: architecture {', '.join(map(str, architectures))} is not supported; supported are {known}"
    )
