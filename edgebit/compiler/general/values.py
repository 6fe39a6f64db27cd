"""What the steps of a run read and write."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from edgebit.compiler.arena import Operand


@dataclass(frozen=True)
class Value:
    """A dense tensor of the graph."""

    operand: Operand
    shape: tuple[int, ...]
    dtype: str

    @property
    def rows(self) -> int:
        """Of the last axis."""
        return prod(self.shape[:-1])


@dataclass(frozen=True)
class Codes:
    """The int8 codes of a tensor, ``pad(features)`` a row, with the sum and the scale of each row."""

    codes: Operand
    sums: Operand
    scales: Operand
    shape: tuple[int, ...]  # of the tensor

    @property
    def rows(self) -> int:
        return prod(self.shape[:-1])

    @property
    def features(self) -> int:
        return self.shape[-1]
