"""The plan: steps over static buffers, as the executor walks them (edgebit/runtime/native/plan.h).

Every step names two kernels, one for a single token and one for a chunk of tokens; their arguments are the
same, so the decode and the prefill plan share buffers, offsets and scalars.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

CHUNK = 96  # tokens of a prefill pass; every GEMM tile of schedules/ divides it
ALIGNMENT = 64  # bytes, of every buffer and section


class Space(IntEnum):
    """Where an argument lives; the order is that of plan.h."""

    WEIGHTS = 0
    ARENA = 1
    CACHE = 2
    SCRATCH = 3
    TOKENS = 4
    LOGITS = 5


class Value(IntEnum):
    """What a scalar argument is; the order is that of plan.h."""

    CONSTANT = 0
    COUNT = 1
    BEGIN = 2
    TOKEN_COUNT = 3
    POSITION = 4


@dataclass(frozen=True)
class Scalar:
    kind: Value
    value: int = 0


COUNT = Scalar(Value.COUNT)
BEGIN = Scalar(Value.BEGIN)
TOKEN_COUNT = Scalar(Value.TOKEN_COUNT)
POSITION = Scalar(Value.POSITION)


def constant(value: int) -> Scalar:
    return Scalar(Value.CONSTANT, value)


@dataclass(frozen=True)
class Argument:
    """address = base(space) + offset + begin · unit_stride + row · row_stride, in bytes."""

    space: Space
    offset: int
    unit_stride: int = 0
    row_stride: int = 0


@dataclass(frozen=True, order=True)
class KernelInstance:
    """A kernel of schedules/ with its static parameters bound."""

    name: str
    static: tuple[tuple[str, float | int], ...] = ()

    @property
    def symbol(self) -> str:
        """The name with its parameters, as a C identifier: ``attention_head_dim64``."""
        parts = [
            f"{key}{value:.9g}".replace("-", "m").replace("+", "").replace(".", "p")
            for key, value in self.static
        ]
        return "_".join([self.name, *parts])


@dataclass(frozen=True)
class Step:
    """``units`` of work of one kernel, shared out over the threads in multiples of ``grain``."""

    label: str
    decode: KernelInstance
    prefill: KernelInstance
    units: Scalar
    grain: int
    buffers: tuple[Argument, ...]
    scalars: tuple[Scalar, ...]


@dataclass(frozen=True)
class Plan:
    """Everything the executor needs to know about one model; sizes in bytes."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    context: int
    body: tuple[Step, ...]
    head: tuple[Step, ...]
    arena_bytes: int
    cache_bytes: int
    scratch_bytes: int

    @property
    def kernels(self) -> tuple[KernelInstance, ...]:
        """Every kernel instance, in the order of the kernel tables."""
        used = {kernel for step in (*self.body, *self.head) for kernel in (step.decode, step.prefill)}
        return tuple(sorted(used))
