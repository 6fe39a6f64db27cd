"""Values of the graph as arena buffers, which get their offsets when all steps are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgebit.compiler.memory import Buffer, place
from edgebit.compiler.plan import CHUNK, Argument, Space
from edgebit.compiler.weights import pad

_WORD = 4  # bytes of float32 and int32


@dataclass(frozen=True)
class InArena:
    """An argument whose buffer has no offset yet; ``start``: bytes from the start of the buffer."""

    buffer: Buffer
    unit_stride: int = 0
    row_stride: int = 0
    start: int = 0

    def placed(self) -> Argument:
        return Argument(Space.ARENA, self.buffer.offset + self.start, self.unit_stride, self.row_stride)


Operand = Argument | InArena


@dataclass(frozen=True)
class Rows:
    """An activation: float32 [CHUNK][pad(features)]."""

    buffer: Buffer
    features: int

    @property
    def width(self) -> int:
        return pad(self.features)

    @property
    def row_bytes(self) -> int:
        return self.width * _WORD


@dataclass(frozen=True)
class Quantized:
    """int8 codes [CHUNK][pad(features)] with the int32 sum and the float32 scale of each token."""

    codes: Operand
    sums: Operand
    scales: Operand
    features: int

    def by_token(self) -> list[Operand]:
        """Codes, sums and scales as operands whose unit is a token."""
        return [
            replace(self.codes, unit_stride=pad(self.features)),
            replace(self.sums, unit_stride=_WORD),
            replace(self.scales, unit_stride=_WORD),
        ]

    def whole(self) -> list[Operand]:
        """Codes, sums and scales as operands that every unit reads from the first token on."""
        return [self.codes, self.sums, self.scales]


class Arena:
    """Makes buffers, learns from the steps when each is alive, and places them."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []

    def buffer(self, name: str, size: int) -> Buffer:
        buffer = Buffer(name, size)
        self._buffers.append(buffer)
        return buffer

    def rows(self, name: str, features: int) -> Rows:
        return Rows(self.buffer(name, CHUNK * pad(features) * _WORD), features)

    def quantized(self, name: str, features: int) -> Quantized:
        return Quantized(
            InArena(self.buffer(f"{name}.codes", CHUNK * pad(features))),
            InArena(self.buffer(f"{name}.sums", CHUNK * _WORD)),
            InArena(self.buffer(f"{name}.scales", CHUNK * _WORD)),
            features,
        )

    @staticmethod
    def touch(operands: Sequence[Operand], step: int) -> None:
        """Step number ``step`` reads or writes these operands."""
        for operand in operands:
            if isinstance(operand, InArena):
                operand.buffer.touch(step)

    def place(self) -> int:
        """Fix every offset; returns the size of the arena."""
        return place(self._buffers)


def resolve(operands: Sequence[Operand]) -> tuple[Argument, ...]:
    """The arguments of a step once the arena is placed."""
    return tuple(operand.placed() if isinstance(operand, InArena) else operand for operand in operands)
