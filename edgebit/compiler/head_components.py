"""The directions of hidden states that certified screening keeps apart from the rest (LM_HEAD).

A row of the embedding is screened by its first plane, or by codes of 4 bits. What these leave out is
estimated on 64 directions at 16 bits, and bounded by the product of two norms on all others: the more of a
hidden state's energy lies on the 64, and for codes the more of a row's, the tighter. Rows have little in
common but their mean, which therefore is one of the directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebit.compiler.weights import Array
from edgebit.errors import CompileError

COMPONENTS = 64
OUTLIERS = 16
PRINCIPAL = COMPONENTS - OUTLIERS
GRID = 2.0**-20
"""Components are multiples of it: with the 10-bit integers of plane 2 their products have exact float64 sums,
in any order.
"""

_SAMPLED_ROWS = 16384
_SMALLEST_SIGMA = 2.0**-8  # relative to the largest: few states say little about the last directions
_SIGMA_BITS = 12
_MEAN_WEIGHT = 3**-0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """``outliers``: 16 ascending columns of the table, kept as bfloat16. ``matrix`` [H][64] float32, P: unit
    vectors at the outliers, then 48 principal components, orthonormal but for rounding to GRID. ``sigma``
    [64] float64: root mean square of Pᵀh.
    """

    outliers: npt.NDArray[np.int64]
    matrix: npt.NDArray[np.float32]
    sigma: Floats

    @property
    def principal(self) -> Floats:
        """The principal components [H][48]."""
        return self.matrix[:, OUTLIERS:].astype(np.float64)


def uncalibrated(table: Callable[[], Array]) -> Components:
    """Components for a model whose hidden states are not known yet: its planes hold the table, screening with
    them leaves much.
    """
    _mean, outliers = _mean_and_outlier_columns(table())
    columns = table().shape[1]
    rest = np.setdiff1d(np.arange(columns), outliers)[:PRINCIPAL]
    matrix = np.zeros((columns, COMPONENTS), np.float32)
    matrix[outliers, np.arange(OUTLIERS)] = 1.0
    matrix[rest, OUTLIERS + np.arange(len(rest))] = 1.0
    return Components(outliers, matrix, np.ones(COMPONENTS))


def calibrate(hidden: npt.NDArray[np.float32], table: Callable[[], Array]) -> Components:
    """Components of normalised hidden states [n][H] of the model, for its table [V][H].

    The same input gives the same components on one machine; another BLAS may differ in a last place, which
    changes how much is screened and never a logit. Raises CompileError for states that are not finite.
    """
    if not np.isfinite(hidden).all() or not hidden.any():
        raise CompileError(
            "the hidden states of the calibration are not finite, or all zero; "
            "run the model to see whether it works at all, and compile with the full head"
        )
    mean, outliers = _mean_and_outlier_columns(table())
    rest = np.setdiff1d(np.arange(hidden.shape[1]), outliers)
    matrix = np.zeros((hidden.shape[1], COMPONENTS))
    matrix[outliers, np.arange(OUTLIERS)] = 1.0
    states = hidden.astype(np.float64)
    matrix[rest, OUTLIERS:] = np.rint(_principal_components(states[:, rest], mean[rest]) / GRID) * GRID
    sigma = np.sqrt(((states @ matrix) ** 2).mean(axis=0))
    sigma = _round_significant(np.maximum(sigma, sigma.max() * _SMALLEST_SIGMA), _SIGMA_BITS)
    return Components(outliers, matrix.astype(np.float32), sigma)


def _mean_and_outlier_columns(table: Array) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Of some rows. The columns are those with most energy: they would coarsen the step of every row, which
    is set by its largest entry.
    """
    stride = -(-table.shape[0] // _SAMPLED_ROWS)
    energy, total = np.zeros((2, table.shape[1]))
    for first in range(0, table.shape[0], 256 * stride):
        rows = np.asarray(table[first : first + 256 * stride : stride]).astype(np.float32)
        energy += (rows.astype(np.float64) ** 2).sum(axis=0)
        total += rows.sum(axis=0, dtype=np.float64)
    return total, np.sort(np.argsort(-energy, kind="stable")[:OUTLIERS])


def _principal_components(states: Floats, mean: Floats) -> Floats:
    """Orthonormal [columns][48] that hold most of the energy of ``states`` [n][columns] and, as if it were a
    state with a third of the energy of all, that of ``mean``.
    """
    scaled = states / np.abs(states).max() if states.any() else states
    if mean.any():
        weight = np.linalg.norm(scaled) * _MEAN_WEIGHT / np.linalg.norm(mean)
        scaled = np.concatenate([scaled, mean[None] * weight])
    few = max(0, PRINCIPAL - len(scaled))
    directions = np.linalg.svd(np.pad(scaled, ((0, few), (0, 0))), full_matrices=False)[2]
    return np.asarray(directions[:PRINCIPAL].T)


def _round_significant(x: Floats, bits: int) -> Floats:
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))
