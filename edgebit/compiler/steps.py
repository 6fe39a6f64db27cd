"""The step lists of a plan while they grow: a decode, a prefill and a head list over one arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgebit.compiler.arena import Arena, Operand, resolve
from edgebit.compiler.memory import align
from edgebit.compiler.plan import Argument, KernelInstance, Scalar, Space, Step


@dataclass
class Scratch:
    """Scratch of one thread: places taken until the next step that all threads share ends their use."""

    size: int = 0
    _used: int = 0

    def take(self, size: int) -> Argument:
        place = Argument(Space.SCRATCH, self._used)
        self._used += align(size)
        self.size = max(self.size, self._used)
        return place

    def end_chain(self) -> None:
        self._used = 0


@dataclass
class StepList:
    """The steps of one phase. ``time`` numbers the steps of all phases: buffers live in these numbers."""

    arena: Arena
    _steps: list[tuple[Step, tuple[Operand, ...]]] = field(default_factory=list)
    _everywhere: list[Operand] = field(default_factory=list)

    def add(
        self,
        time: int,
        label: str,
        kernel: KernelInstance,
        units: Scalar,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
        grain: int = 1,
        everywhere: bool = False,
        first: bool = False,
    ) -> None:
        """``first``: put the step in front of all others."""
        self.arena.touch(operands, time)
        if everywhere:
            self._everywhere += operands
        else:  # until its barrier a slow thread may still be at the steps done everywhere before
            self.arena.touch(self._everywhere, time)
            self._everywhere = []
        step = Step(label, kernel, units, grain, everywhere, (), tuple(scalars))
        self._steps.insert(0 if first else len(self._steps), (step, tuple(operands)))

    def placed(self) -> tuple[Step, ...]:
        """The steps, when the arena has given every buffer its offset."""
        return tuple(replace(step, buffers=resolve(operands)) for step, operands in self._steps)
