"""What a person knows better about a model than its file says; recorded wherever the model goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from edgebit.errors import UsageError
from edgebit.model.families import ACTIVATION_QUANTIZATIONS, ACTIVATIONS
from edgebit.model.pooling import POOLINGS

I2S_BLOCKS = (128, 64)
MODEL_FAMILIES = ("bitnet", "llama")


@dataclass(frozen=True)
class Overrides:
    """None: as the file says, or as files of its kind are.

    Of GGUF files alone, which leave these out: ``i2s_block``: 64 for I2_S files written on ARM;
    ``model_family``: the layers of an architecture edgebit does not know; ``activation``: of the
    feed-forward. Of every checkpoint: ``pooling``: the model makes embeddings, pooled so;
    ``activation_quantization``: "int8" or "none", where the weights are products of scales and trits without
    a config that says. Raises UsageError for a value that does not exist.
    """

    i2s_block: int | None = None
    model_family: str | None = None
    activation: str | None = None
    pooling: str | None = None
    activation_quantization: str | None = None

    def __post_init__(self) -> None:
        for option, value, known in (
            ("i2s-block", self.i2s_block, I2S_BLOCKS),
            ("model-family", self.model_family, MODEL_FAMILIES),
            ("activation", self.activation, ACTIVATIONS),
            ("pooling", self.pooling, POOLINGS),
            ("activation-quantization", self.activation_quantization, ACTIVATION_QUANTIZATIONS),
        ):
            if value is not None and value not in known:
                raise UsageError(f"unknown --{option} {value}; known are {', '.join(map(str, known))}")

    def describe(self) -> tuple[str, ...]:
        """Each that is given, "activation relu2"."""
        return tuple(f"{name} {value}" for name, value in asdict(self).items() if value is not None)

    def describe_gguf(self) -> tuple[str, ...]:
        """Those that are for GGUF files alone."""
        return replace(self, pooling=None, activation_quantization=None).describe()


AS_THE_FILE_SAYS = Overrides()
