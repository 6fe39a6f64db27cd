"""Two-stage schedule of BitNet b1.58: a high learning rate with weight decay, then a low one without."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Learning rate and weight decay as functions of the step alone, so that a run can be repeated.

    Stage 1 warms up to ``peak`` and falls linearly to ``stage_one_end``; stage 2 begins at step
    ``stage_two_start`` with ``stage_two_peak`` and falls linearly to zero. Weight decay holds in stage 1 only
    and for the ternary matrices only.
    """

    steps: int
    stage_two_start: int
    warmup_steps: int = 150
    peak: float = 3.2e-3
    stage_one_end: float = 2.768e-3
    stage_two_peak: float = 2.0e-3
    stage_one_weight_decay: float = 0.1

    def learning_rate(self, step: int) -> float:
        if step >= self.stage_two_start:
            left = (self.steps - step) / (self.steps - self.stage_two_start)
            return self.stage_two_peak * left
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        done = step / self.stage_two_start
        return warmup * (self.peak + (self.stage_one_end - self.peak) * done)

    def weight_decay(self, step: int) -> float:
        return self.stage_one_weight_decay if step < self.stage_two_start else 0.0
