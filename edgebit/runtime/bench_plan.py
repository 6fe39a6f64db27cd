"""The steps of a token and the bytes they read, as manifest.json says (edgebit/compiler/summary.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Tuple

from .errors import RuntimeModelError
from .stats import HeadStats


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


SIZES = (
    "streamed_offset",
    "streamed_bytes",
    "cache_bytes_per_token",
    "logits_bytes",
    "screen_bytes",
    "row_bytes",
    "refine_bytes",
)


@dataclass(frozen=True)
class PlanFacts:
    """The steps of each phase in plan order, and where decoding reads."""

    decode: Tuple[Step, ...]
    prefill: Tuple[Step, ...]
    head: Tuple[Step, ...]
    streamed_offset: int  # in weights.bin: what the decode steps stream lies from here ...
    streamed_bytes: int  # ... to here
    cache_bytes_per_token: int  # of the KV cache, read for each token of the context
    logits_bytes: int  # read for all logits of a token
    screen_bytes: int  # read to screen them; 0 where the head cannot
    row_bytes: int  # read for one logit after screening
    refine_bytes: int  # read to screen one row again; 0 where the head does not

    @property
    def body_bytes(self) -> int:
        """Weights that decoding one token streams, without the head."""
        return sum(step.weight_bytes for step in self.decode)

    def head_bytes(self, stats: HeadStats) -> int:
        """Weights that finding tokens has read, by its counters."""
        screened = self.screen_bytes * stats.queries + self.refine_bytes * stats.refined_rows
        return screened + self.row_bytes * stats.computed_rows + self.logits_bytes * stats.full_passes

    @property
    def ternary_weights(self) -> int:
        """Weights that each token of a prompt is multiplied with."""
        return sum(step.ternary_weights for step in self.prefill)


def read_plan(manifest: Mapping[str, Any]) -> PlanFacts:
    """The plan facts of a bundle. Raises RuntimeModelError where an older edgebit wrote none."""
    try:
        plan = manifest["plan"]
        kinds = [_step(kind) for kind in plan["kinds"]]
        decode, prefill, head = (
            tuple(kinds[int(i)] for i in plan[phase].split()) for phase in ("decode", "prefill", "head")
        )
        return PlanFacts(decode, prefill, head, **{name: int(plan[name]) for name in SIZES})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise RuntimeModelError(
            "manifest.json does not say what the steps of the model read: compile it again to measure it"
        ) from None


def read_steps(manifest: Mapping[str, Any]) -> Tuple[Step, ...]:
    """The steps of a graph of tensors in plan order. Raises RuntimeModelError where they are not told."""
    try:
        parts = (str(step).split(" ", 1) for step in manifest["plan"]["steps"])
        return tuple(Step(kernel, label, 0) for kernel, label in parts)
    except (KeyError, TypeError, ValueError):
        raise RuntimeModelError(
            "manifest.json does not name the steps of the model: compile it again to profile it"
        ) from None


def _step(kind: str) -> Step:
    kernel, size, label = kind.split(" ", 2)
    return Step(kernel, label, int(size))
