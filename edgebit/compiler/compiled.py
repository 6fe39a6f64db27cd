"""What the compiler hands to the bundle writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgebit.compiler.emit import plan_source
from edgebit.compiler.plan import Plan
from edgebit.compiler.summary import Facts, summarize, summarize_run
from edgebit.compiler.target import Target
from edgebit.compiler.weights import Weights
from edgebit.graph import GraphMetadata
from edgebit.runtime.engine import TASK_EMBED, TASK_GENERATE, TASK_RUN
from edgebit.schedules.tier import TIERS


@dataclass(frozen=True)
class CompiledModel:
    """Plan, weights and kernels of one model for one target. ``objects``: relocatable objects by tier name,
    best first; one that several tiers use is with the best of them.
    """

    metadata: GraphMetadata
    target: Target
    plan: Plan
    weights: Weights
    objects: Mapping[str, Sequence[bytes]]
    screening: Facts = field(default_factory=dict)  # what was counted of the lm_head

    def plan_source(self, weights_id: bytes) -> str:
        """plan.c for a weights.bin of this id."""
        return plan_source(self.plan, [TIERS[name] for name in self.objects], self.weights.size, weights_id)

    @property
    def task(self) -> str:
        """What the model is for, as the manifest says it."""
        if self.plan.run:
            return TASK_RUN
        return TASK_GENERATE if self.plan.pooling is None else TASK_EMBED

    @property
    def model_facts(self) -> Facts:
        if self.task == TASK_RUN:
            return {
                "name": self.metadata.name,
                "family": self.metadata.family,
                "inputs": [str(tensor) for tensor in self.plan.inputs],
                "outputs": [str(tensor) for tensor in self.plan.outputs],
            }
        return {
            "name": self.metadata.name,
            "family": self.metadata.family,
            "vocab_size": self.plan.vocab_size,
            "hidden_size": self.plan.hidden_size,
            "num_layers": self.plan.num_layers,
            "context": self.plan.context,
            **self._end,
            "kv_cache": self.plan.kv,
            **({"overrides": list(self.metadata.overrides)} if self.metadata.overrides else {}),
        }

    @property
    def _end(self) -> Facts:
        pooling = self.plan.pooling
        if pooling is not None:
            return {"pooling": pooling.kind.name.lower()}
        return {"lm_head": self.plan.logits.kind.name.lower()}

    @property
    def plan_summary(self) -> Facts:
        return (
            summarize_run(self.plan) if self.task == TASK_RUN else {**summarize(self.plan), **self.screening}
        )

    @property
    def memory(self) -> Facts:
        """Bytes the runtime needs; the cache is touched as the conversation grows, scratch is for each
        thread.
        """
        if self.task == TASK_RUN:
            return {"weights": self.weights.size, "activations": self.plan.arena_bytes}
        return {
            "weights": self.weights.size,
            "activations": self.plan.arena_bytes,
            "cache": self.plan.cache_bytes,
            "scratch_per_thread": self.plan.scratch_bytes,
            "logits": self.plan.vocab_size * 4 if self.plan.pooling is None else 0,
        }
