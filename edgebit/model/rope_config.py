"""Rotary position embedding as a config.json says it, in the files of both kinds of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgebit.model.facts import Llama3Scaling
from edgebit.model.families import Family
from edgebit.model.json_entries import Entries

_LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Rotary:
    """``scaling`` is that of layers without a window; ``local_theta`` is of those with one."""

    theta: float
    local_theta: float
    scaling: Llama3Scaling | None


def read_rotary(entries: Entries, family: Family) -> Rotary:
    """``rope_theta``, ``rope_scaling`` and ``rope_local_base_freq``, or ``rope_parameters`` of newer files,
    for each kind of layer where they differ. Raises ConfigError for scaling of another kind than Llama 3's.
    """
    values = entries.values
    parameters = entries.object("rope_parameters")
    local: Mapping[str, Any] = parameters
    if parameters.keys() & _LAYER_TYPES:
        of_layers = Entries(entries.source, parameters)
        parameters, local = (of_layers.object(kind) for kind in ("full_attention", "sliding_attention"))
    scalings = [
        _scaling(entries, key, entry)
        for key, entry in (("rope_scaling", entries.object("rope_scaling")), ("rope_parameters", parameters))
    ]
    if local is not parameters and _scaling(entries, "rope_parameters", local) is not None:
        raise entries.error("rope_parameters scales layers with a window, which is not supported")
    theta = parameters.get("rope_theta", values.get("rope_theta", family.default_rope_theta))
    own = None if local is parameters else local.get("rope_theta")
    local_theta = own or values.get("rope_local_base_freq") or family.default_local_rope_theta or theta
    return Rotary(
        theta=entries.positive("rope_theta", theta),
        local_theta=entries.positive("rope_local_base_freq", local_theta),
        scaling=next((scaling for scaling in scalings if scaling is not None), None),
    )


def _scaling(entries: Entries, key: str, entry: Mapping[str, Any]) -> Llama3Scaling | None:
    kind = entry.get("rope_type", entry.get("type", "default"))
    if entry.get("partial_rotary_factor", 1.0) != 1.0:
        raise entries.error(f"partial_rotary_factor {entry['partial_rotary_factor']} is not supported")
    if kind == "default":
        return None
    if kind != "llama3":
        raise entries.error(f"{key} of type {kind!r} is not supported; supported are default, llama3")
    numbers = {
        name: entries.positive(f"{key}.{name}", entry.get(name))
        for name in ("factor", "low_freq_factor", "high_freq_factor")
    }
    if numbers["low_freq_factor"] >= numbers["high_freq_factor"]:
        raise entries.error(f"{key}: low_freq_factor is not below high_freq_factor")
    positions = Entries(entries.source, entry).size("original_max_position_embeddings")
    return Llama3Scaling(**numbers, original_positions=positions)
