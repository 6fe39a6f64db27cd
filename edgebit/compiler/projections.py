"""Projections of the fused function before they are computed: what they read and what belongs to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgebit.compiler.arena import Operand, Quantized, Rows
from edgebit.compiler.weights import Packed


@dataclass(frozen=True)
class Codes:
    """Quantised rows: where prefill has them, and how decoding makes them: in the arena, or (``again``) by
    each thread in its scratch when they are needed.
    """

    arena: Quantized
    again: Callable[[], Quantized] | None

    @property
    def features(self) -> int:
        return self.arena.features


@dataclass(frozen=True)
class FloatInput:
    """Rows that projections read as they are: where prefill has them, and what decoding reads instead."""

    rows: Rows
    decoded: Callable[[], Operand]

    @property
    def features(self) -> int:
        return self.rows.features


@dataclass(frozen=True)
class HeadNorm:
    """A norm of every head: its weight, a Relax variable."""

    weight: Any
    eps: float


@dataclass(frozen=True)
class Product:
    """A projection, computed where its result is wanted: ``matrix`` times ``codes`` [+ bias], then perhaps
    a norm of each head. ``codes`` are floats where activations are not quantised. ``scale`` and ``bias`` are
    Relax variables.
    """

    label: str
    codes: Codes | FloatInput
    matrix: Packed
    scale: Any
    bias: Any = None
    head_norm: HeadNorm | None = None
