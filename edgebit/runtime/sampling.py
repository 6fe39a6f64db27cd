"""How the next token is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from .errors import RuntimeModelError
from .library import SamplingStruct

LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Sampling:
    """Settings of a run; temperature 0: the most likely token. Raises RuntimeModelError for a wrong one."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        warm = 0 <= _number(self.temperature) < float("inf")
        self._require("temperature", Real, warm, "a number from 0 up")
        self._require("top_k", Integral, 0 <= _number(self.top_k) <= LARGEST_INT32, "0 (all tokens) or more")
        self._require("top_p", Real, 0 < _number(self.top_p) <= 1, "a number above 0, up to 1")
        self._require("min_p", Real, 0 <= _number(self.min_p) <= 1, "a number from 0 (all tokens) to 1")
        self._require("seed", Integral, True, "a whole number")

    def _require(self, name: str, kind: type, in_range: bool, expected: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, kind) or not in_range:
            raise RuntimeModelError(f"{name} {value!r}: expected {expected}")

    def native(self) -> SamplingStruct:
        """eb_sampling of the same settings; of a seed the lowest 64 bits count."""
        seed = int(self.seed) & (2**64 - 1)
        return SamplingStruct(self.temperature, self.top_k, self.top_p, self.min_p, seed)


def _number(value: Any) -> Any:
    """A value that can be compared with numbers: nothing is in a range that is no number."""
    return value if isinstance(value, Real) else float("nan")
