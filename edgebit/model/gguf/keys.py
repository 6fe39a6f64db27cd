"""The keys that a GGUF file has for its architecture, "bitnet.block_count" by "block_count"."""

from __future__ import annotations

from dataclasses import dataclass

from edgebit.errors import ConfigError
from edgebit.model.gguf.architecture import Architecture
from edgebit.model.gguf.metadata import Metadata

_ACTIVATIONS = {  # by their names in hidden_activation, and in `Architecture`
    "relu2": "relu2",
    "relu_sqr": "relu2",
    "silu": "silu",
    "gelu_tanh": "gelu_tanh",
}


@dataclass(frozen=True)
class ArchitectureKeys:
    """``prefix``: what the architecture is called in the file."""

    metadata: Metadata
    prefix: str

    def __contains__(self, key: str) -> bool:
        return self.name(key) in self.metadata

    def name(self, key: str) -> str:
        return f"{self.prefix}.{key}"

    def integer(self, key: str, default: int | None = None) -> int:
        return self.metadata.integer(self.name(key), default)

    def number(self, key: str, default: float | None = None) -> float:
        return self.metadata.number(self.name(key), default)

    def token(self, key: str) -> int | None:
        key = f"tokenizer.ggml.{key}"
        return self.metadata.integer(key) if key in self.metadata else None

    def activation(self, architecture: Architecture, given: str | None) -> str:
        key = self.name("hidden_activation")
        if given is not None and key not in self.metadata:
            return given
        if given is None and key not in self.metadata and not architecture.activation:
            raise ConfigError(f"{self.metadata.source}: {key} is missing; say which with --activation")
        found = self.metadata.text(self.name("hidden_activation"), architecture.activation)
        if found not in _ACTIVATIONS:
            raise self.error("hidden_activation", found, " or ".join(_ACTIVATIONS))
        if given is not None and _ACTIVATIONS[found] != given:
            raise self.error("hidden_activation", found, f"{given}, which --activation says")
        return _ACTIVATIONS[found]

    def refuse_unsupported(self, windows: bool) -> None:
        """``windows``: whether the architecture has layers that see a window of tokens."""
        scaling = self.metadata.text(self.name("rope.scaling.type"), "none")
        if scaling != "none":
            raise self.error("rope.scaling.type", scaling, "no scaling of the rotary embedding")
        for key in self.metadata.values:
            if key.startswith("prism.hadamard."):
                raise ConfigError(
                    f"{self.metadata.source}: {key} says that activations go through a Hadamard transform "
                    "(Bonsai 2), which edgebit does not compute; take the first Ternary-Bonsai"
                )
        for key in ("expert_count", *(() if windows else ("attention.sliding_window",))):
            if self.integer(key, 0) != 0:
                raise self.error(key, self.integer(key), "0")
        if not self.metadata.flag(self.name("attention.causal"), True):
            raise self.error("attention.causal", "false", "true: bidirectional attention is not supported")

    def require_whole_heads(self, head_dim: int) -> None:
        """Rotary embedding over all of a head, and values as long as keys."""
        for key in ("rope.dimension_count", "attention.value_length"):
            if self.integer(key, head_dim) != head_dim:
                raise self.error(key, self.integer(key), f"{head_dim}, the features of a head")

    def error(self, key: str, found: str | int, expected: str) -> ConfigError:
        return ConfigError(f"{self.metadata.source}: {self.name(key)} is {found}, expected {expected}")
