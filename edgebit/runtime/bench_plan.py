"""The steps of a token and the bytes they read, as manifest.json says (edgebit/compiler/summary.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from .errors import RuntimeModelError


@dataclass(frozen=True)
class Step:
    """One step of a plan; `weight_bytes` are those of weights.bin that it streams each time."""

    kernel: str
    label: str  # its place in the model, the same in every layer
    weight_bytes: int

    @property
    def ternary_weights(self) -> int:
        """Weights each token is multiplied with: four in a byte."""
        return 4 * self.weight_bytes if self.kernel.startswith("ternary_") else 0


@dataclass(frozen=True)
class PlanFacts:
    """The steps of each phase in plan order, and where decoding reads."""

    decode: Tuple[Step, ...]
    prefill: Tuple[Step, ...]
    head: Tuple[Step, ...]
    streamed_offset: int  # in weights.bin: what the decode steps stream lies from here ...
    streamed_bytes: int  # ... to here
    cache_bytes_per_token: int  # of the KV cache, read for each token of the context

    @property
    def body_bytes(self) -> int:
        """Weights that decoding one token streams, without the head."""
        return sum(step.weight_bytes for step in self.decode)

    @property
    def head_bytes(self) -> int:
        """Weights that the logits of one token take."""
        return sum(step.weight_bytes for step in self.head)

    @property
    def ternary_weights(self) -> int:
        """Weights that each token of a prompt is multiplied with."""
        return sum(step.ternary_weights for step in self.prefill)

    def bytes_per_token(self, context: float) -> float:
        """Bytes that decoding one token reads when the context holds so many."""
        return self.body_bytes + self.head_bytes + self.cache_bytes_per_token * context


def read_plan(manifest: Mapping[str, Any]) -> PlanFacts:
    """The plan facts of a bundle. Raises RuntimeModelError where an older edgebit wrote none."""
    try:
        plan = manifest["plan"]
        kinds = [_step(kind) for kind in plan["kinds"]]
        decode, prefill, head = (
            tuple(kinds[int(i)] for i in plan[phase].split()) for phase in ("decode", "prefill", "head")
        )
        offset, size = int(plan["streamed_offset"]), int(plan["streamed_bytes"])
        return PlanFacts(decode, prefill, head, offset, size, int(plan["cache_bytes_per_token"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise RuntimeModelError(
            "manifest.json does not say what the steps of the model read: compile it again to measure it"
        ) from None


def _step(kind: str) -> Step:
    kernel, size, label = kind.split(" ", 2)
    return Step(kernel, label, int(size))
