"""The plan: steps over static buffers, as the executor walks them (edgebit/runtime/native/plan.h).

A decode plan of one token and a prefill plan of a chunk of tokens share buffers and weights. The head steps
leave the normalised hidden state of one token; `Head` says how logits come from it. Where a model makes
embeddings they pool it with those before; `Pooling` says how the embedding comes from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Any

CHUNK = 96  # tokens of a prefill pass
KEY_CHUNK = 128  # keys that attention takes together
QUERY_TILE = 8  # tokens of a prompt that attention takes together
ALIGNMENT = 64  # bytes, of every buffer and section
ITEM_BYTES = {
    "float32": 4,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "bool": 1,
}
"""Of the types that inputs and outputs of a graph have; their order is that of enum eb_dtype."""


class Space(IntEnum):
    """Where an argument lives; the order is that of plan.h."""

    WEIGHTS = 0
    ARENA = 1
    CACHE = 2
    SCRATCH = 3
    TOKENS = 4


class Value(IntEnum):
    """What a scalar argument is; the order is that of plan.h."""

    CONSTANT = 0
    COUNT = 1
    BEGIN = 2
    TOKEN_COUNT = 3
    POSITION = 4
    KEY_CHUNKS = 5
    QUERY_TILES = 6


@dataclass(frozen=True)
class Scalar:
    kind: Value
    value: int = 0


COUNT = Scalar(Value.COUNT)
BEGIN = Scalar(Value.BEGIN)
TOKEN_COUNT = Scalar(Value.TOKEN_COUNT)
POSITION = Scalar(Value.POSITION)


def key_chunks(per_chunk: int) -> Scalar:
    """So many units for each chunk of keys up to the last token of a pass."""
    return Scalar(Value.KEY_CHUNKS, per_chunk)


def query_tiles(per_tile: int) -> Scalar:
    """So many units for each tile of tokens of a pass."""
    return Scalar(Value.QUERY_TILES, per_tile)


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
    """A kernel of schedules/ with its static parameters bound.

    ``function``: what the kernel "stage" computes, a TIR function of one block; ``static`` then names it.
    """

    name: str
    static: tuple[tuple[str, float | int | str], ...] = ()
    function: Any = field(default=None, compare=False)

    @property
    def symbol(self) -> str:
        """The name with its parameters, as a C identifier: ``attention_head_dim64``."""
        values = [(key, value if isinstance(value, str) else f"{value:.9g}") for key, value in self.static]
        parts = [
            f"{key}{value}".replace("-", "m").replace("+", "").replace(".", "p") for key, value in values
        ]
        return "_".join([self.name, *parts])


@dataclass(frozen=True)
class Step:
    """``units`` of work of one kernel, shared out over the threads in multiples of ``grain``.

    A step done ``everywhere`` is repeated by every thread in its own scratch, without a barrier behind it.
    """

    label: str
    kernel: KernelInstance
    units: Scalar
    grain: int
    everywhere: bool
    buffers: tuple[Argument, ...]
    scalars: tuple[Scalar, ...]


class HeadKind(IntEnum):
    """How logits are made; the order is that of plan.h."""

    FULL = 0
    EXACT = 1
    INT8 = 2
    S4 = 3
    NONE = 4


@dataclass(frozen=True)
class Head:
    """From the hidden state at ``hidden`` (arena, float32 [CHUNK][width]) to logits; field names of plan.h.

    ``kernels``: the ones it calls; ``places``: the sections it reads, as offsets into weights.bin.
    """

    kind: HeadKind
    width: int
    hidden: int
    kernels: Mapping[str, KernelInstance]
    places: Mapping[str, int]
    plane_width: int = 0


NO_LOGITS = Head(HeadKind.NONE, 0, 0, {}, {})


class PoolingKind(IntEnum):
    """How the hidden states of a text become one vector; the order is that of plan.h."""

    NONE = 0
    LAST = 1
    MEAN = 2


@dataclass(frozen=True)
class Pooling:
    """The embedding of a text: what the head steps leave of its hidden states at ``state`` (arena, float32
    [2][width]), through the kernel ``normalize``.
    """

    kind: PoolingKind
    width: int
    state: int
    normalize: KernelInstance


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph, dense and little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    place: Argument

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {list(self.shape)}"

    @property
    def bytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Plan:
    """Everything the executor needs to know about one model; sizes in bytes. A model has logits, or makes
    embeddings (``pooling``).
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    context: int
    kv: str  # element type of the KV cache
    decode: tuple[Step, ...]
    prefill: tuple[Step, ...]
    head: tuple[Step, ...]
    logits: Head
    arena_bytes: int
    cache_bytes: int
    scratch_bytes: int
    pooling: Pooling | None = None
    run: tuple[Step, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    multiplications: int = 0  # about, of one run

    @property
    def kernels(self) -> tuple[KernelInstance, ...]:
        """Every kernel instance, in the order of the kernel tables."""
        used = {step.kernel for step in (*self.decode, *self.prefill, *self.head, *self.run)}
        used |= {self.pooling.normalize} if self.pooling else set()
        return tuple(sorted(used | set(self.logits.kernels.values())))
