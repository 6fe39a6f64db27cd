"""The families edgebit reads: one file each, one table of all.

A family states what is *not* in config.json. The graph builder asks the row and knows no family by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgebit.errors import ConfigError
from edgebit.model.families.bitnet import BITNET
from edgebit.model.families.bitnet_embedding import BITNET_EMBEDDING_GEMMA3, BITNET_EMBEDDING_QWEN3
from edgebit.model.families.family import (
    ACTIVATION_QUANTIZATIONS,
    ACTIVATIONS,
    TASKS,
    Family,
)
from edgebit.model.families.gemma3 import GEMMA3
from edgebit.model.families.llama import LLAMA
from edgebit.model.families.onebitllm import ONEBITLLM
from edgebit.model.families.qwen3 import QWEN3

__all__ = ["ACTIVATIONS", "ACTIVATION_QUANTIZATIONS", "FAMILIES", "TASKS", "Family", "find_family"]

FAMILIES: tuple[Family, ...] = (  # the first that matches is taken
    BITNET,
    ONEBITLLM,
    LLAMA,
    QWEN3,
    GEMMA3,
    BITNET_EMBEDDING_QWEN3,
    BITNET_EMBEDDING_GEMMA3,
)


def find_family(config: Mapping[str, Any], source: str) -> Family:
    """The family of a config.json. Raises ConfigError naming ``source`` and what is supported."""
    for family in FAMILIES:
        if family.matches(config):
            return family
    architectures = config.get("architectures") or []
    known = ", ".join(dict.fromkeys(name for family in FAMILIES for name in family.architectures))
    if not architectures:
        raise ConfigError(f'{source}: no "architectures" entry; expected one of {known}')
    found = ", ".join(map(str, architectures))
    if any(name in family.architectures for family in FAMILIES for name in architectures):
        found += f" of model_type {config.get('model_type')!r}"
    if "vision_config" in config or "audio_config" in config:
        found += ", which does not take text alone,"
    raise ConfigError(f"{source}: architecture {found} is not supported; supported are {known}")
