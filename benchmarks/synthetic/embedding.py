"""A tied embedding with the geometry measured on a trained model (LM_HEAD): log-normal row norms, a common
mean with a few outlier columns, clusters of similar rows, columns of different scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import ml_dtypes
import numpy as np

from benchmarks.synthetic.architecture import Architecture
from benchmarks.synthetic.draw import Draw, Floats
from benchmarks.synthetic.layers import Residual

NORM, NORM_SPREAD = 3.15, 0.18  # median of the row norms and the deviation of their logarithm
MEAN_ENERGY, OUTLIER_ENERGY = 0.20, 0.25  # of a row: in the mean's ordinary and outlier columns
CLUSTER_SHARE = 0.35  # of the rest: in the centre of the row's cluster
COLUMN_SPREAD = 0.25
ROWS_PER_CLUSTER = 100
_ROWS = 2048  # rows in memory at a time


def embedding_blocks(architecture: Architecture, residual: Residual, draw: Draw) -> Iterator[bytes]:
    """The rows of model.embed_tokens.weight in blocks, as little-endian bfloat16."""
    rows, hidden = architecture.vocab_size, architecture.hidden_size
    random = draw.stream("model.embed_tokens.weight")
    mean = _mean(random, residual, hidden)
    clusters = 1 + rows // ROWS_PER_CLUSTER
    centres = random.standard_normal((clusters, hidden), np.float32)
    columns = np.exp(COLUMN_SPREAD * random.standard_normal(hidden) - COLUMN_SPREAD**2).astype(np.float32)
    rest = (1 - MEAN_ENERGY - OUTLIER_ENERGY) / hidden
    centres *= np.float32(sqrt(rest * CLUSTER_SHARE))
    columns *= np.float32(sqrt(rest * (1 - CLUSTER_SHARE)))
    for begin in range(0, rows, _ROWS):
        count = min(_ROWS, rows - begin)
        block = random.standard_normal((count, hidden), np.float32)
        block *= columns
        block += centres[random.integers(0, clusters, count)]
        block += mean
        block *= NORM * np.exp(NORM_SPREAD * random.standard_normal((count, 1))).astype(np.float32)
        yield block.astype(ml_dtypes.bfloat16).tobytes()


def _mean(random: np.random.Generator, residual: Residual, hidden: int) -> Floats:
    mean = random.standard_normal(hidden) * sqrt(MEAN_ENERGY / hidden)
    height = sqrt(OUTLIER_ENERGY / len(residual.outliers))
    mean[list(residual.outliers)] += height * np.array(residual.signs)
    return mean.astype(np.float32)
