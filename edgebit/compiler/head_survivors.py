"""How many rows certified screening leaves, counted while an embedding is packed.

Hidden states of the model meet every row as the runtime screens it: estimates and upper bounds in float32,
the bounds of edgebit/runtime/native/head_query.c. What the casts of the kernels add is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebit.compiler.head_codes import F32
from edgebit.compiler.head_components import Components, Floats
from edgebit.compiler.head_rotation import rotate
from edgebit.compiler.memory import align
from edgebit.compiler.weights import Array

TOP_K = 40
"""The second way to choose a token that is counted; the first is greedy."""

_LARGEST_CODE = 32000
_WIDTH_MULTIPLE = 256
_KERNEL_MARGIN = 2.0**-21


@dataclass(frozen=True)
class Survivors:
    """Means over hidden states: rows whose bound reaches the largest logit, and the TOP_K-th largest."""

    states: int
    greedy: float
    top_k: float


class SurvivorCount:
    """Of a table [rows][H] for hidden states [n][H]; ``rotated``: its rows are codes of head_s4.py."""

    def __init__(self, rows: int, states: F32, components: Components, rotated: bool = False) -> None:
        self.states = states.astype(np.float64)
        matrix = components.matrix.astype(np.float64)
        g = self.states @ matrix
        rest = self.states - g @ matrix.T
        width = align(states.shape[1], _WIDTH_MULTIPLE)
        read = np.pad(rest if rotated else self.states, [(0, 0), (0, width - states.shape[1])])
        coded, left = _integers(rotate(np.ascontiguousarray(read.T)).T if rotated else read)
        self._state = coded.astype(np.float32)
        whitened, left_of_g = _integers(g / components.sigma)
        self._whitened = whitened.astype(np.float32)
        roundings = (align(states.shape[1], 64) / 64 + 6) * 2.0**-24
        kappa = _norms(left) + components.sigma.max() * _norms(left_of_g) + _norms(rest @ matrix)
        kappa += roundings * _norms(self.states)
        self._norms = np.stack([_norms(rest), _norms(whitened), kappa]).astype(np.float32)
        self._estimates = np.zeros((rows, len(states)), np.float32)
        self._uppers = np.zeros((rows, len(states)), np.float32)

    def add(self, rows: slice, screened: F32, coefficients: npt.NDArray[np.int16], bounds: F32) -> None:
        """``screened`` [n][width]: what the codes of rows stand for; columns beyond it are zero. Their
        coefficients q [n][64], and S, sa, N, A, K [n][5].
        """
        with np.errstate(over="ignore", invalid="ignore"):
            estimates = screened @ self._state[:, : screened.shape[1]].T
            estimates += (coefficients * bounds[:, 1:2]) @ self._whitened.T
            wide = bounds[:, 2:] @ self._norms
            self._estimates[rows] = estimates
            self._uppers[rows] = estimates + wide + (np.abs(estimates) + wide) * np.float32(_KERNEL_MARGIN)

    def thresholds(self, table: Callable[[], Array], k: int) -> Floats:
        """For each state the least exact logit of the k rows that lead by their estimates."""
        rows, found = table(), []
        for state, estimates in zip(self.states, self._estimates.T, strict=True):
            leaders = np.argpartition(estimates, len(estimates) - k)[-k:]
            found.append((np.asarray(rows[leaders]).astype(np.float64) @ state).min())
        return np.array(found)

    def above(self, thresholds: Floats) -> float:
        """Rows that survive, the mean over the states."""
        return float((~(self._uppers < thresholds)).sum(axis=0).mean())

    def result(self, table: Callable[[], Array]) -> Survivors:
        greedy, top_k = (self.above(self.thresholds(table, k)) for k in self.leader_counts)
        return Survivors(len(self.states), greedy, top_k)

    @property
    def leader_counts(self) -> tuple[int, int]:
        """1 and TOP_K, or fewer where screening would not take so many (head_screen.c)."""
        return 1, max(1, min(TOP_K, len(self._uppers) // 3))


def _integers(x: Floats) -> tuple[Floats, Floats]:
    """Rows as multiples of a step, and what is left of them."""
    largest = np.abs(x).max(axis=1, keepdims=True)
    step = np.where(largest > 0, largest, 1.0) / _LARGEST_CODE
    kept = step * np.rint(x / step)
    return kept, x - kept


def _norms(x: Floats) -> Floats:
    return np.asarray(np.linalg.norm(x, axis=1))
