"""Weights of the layers, drawn so that 30 of them neither fade nor explode.

The residual stream grows with depth far beyond the token's own embedding: a tied head would otherwise repeat
the last token for ever. Like a trained model's, it lies mostly in few directions: the matrices that write to
it share them, and a few of its columns grow to a large constant. On a trained language model 64 principal
components hold 81 % of the energy of what the head reads (LM_HEAD), here 82 %; a stream without structure
would make certified screening look worse than it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import ml_dtypes
import numpy as np
import numpy.typing as npt

from benchmarks.synthetic.architecture import Architecture, TensorEntry
from benchmarks.synthetic.draw import BFloats, Bytes, Draw, Floats, independent_trits, pack, trits_along

# Energy of the principal components after the first, measured on a trained model: (components, share).
SPECTRUM = ((7, 0.228), (8, 0.055), (16, 0.059), (32, 0.046))
SHARE = 0.8  # of the variance of the writing matrices, before rounding to trits
OUTLIER_COLUMNS = 8  # of the embedding
CONSTANT_COLUMNS = 4  # of those, the ones that grow with depth
POSITIVE_FEATURES = 256  # of the MLP: gate and up agree, so their product is never negative
ZEROS = (0.40, 0.45)  # share of zero trits
SCALES = {"down_proj": (1.8, 2.4)}  # weight_scale of layer 0 of the real model: q_proj 1.22, down_proj 2.16
OTHER_SCALES = (1.05, 1.6)
READ = 1.5  # standard deviation of what q, k, v, gate and up write
FINAL_RMS = 3.0  # of the residual stream; embeddings have 0.06
FINAL_NORM = 0.95
WRITERS = ("o_proj", "down_proj")
# Of the energy that is written. Random attention averages many positions, which leaves what all of them have
# in common: at an equal share all tokens end in the same hidden state, here they stay 90 % different.
ATTENTION_SHARE = 0.1


@dataclass(frozen=True)
class Residual:
    """What all layers agree on: ``directions`` are whole numbers [hidden, 63], ``outliers`` the columns where
    all embeddings have a large value of the sign ``signs``.
    """

    directions: Floats
    outliers: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def constant(self) -> Mapping[int, int]:
        """The columns that grow and the trit code that makes them.

        Half of them grow against the embeddings' sign: otherwise all logits are shifted in proportion to the
        norms of their rows, and the token of the largest norm always wins.
        """
        signs = zip(self.outliers[:CONSTANT_COLUMNS], self.signs, (1, -1, 1, -1), strict=False)
        return {column: 1 + sign * side for column, sign, side in signs}


def residual(architecture: Architecture, draw: Draw) -> Residual:
    random = draw.stream("residual stream")
    amplitudes = np.concatenate([np.full(count, sqrt(share / count)) for count, share in SPECTRUM])
    unit = random.standard_normal((architecture.hidden_size, len(amplitudes)), np.float32)
    directions = np.rint(unit * (32 * amplitudes / amplitudes.max()).astype(np.float32))
    outliers = random.choice(architecture.hidden_size, OUTLIER_COLUMNS, replace=False)
    signs = random.choice([-1, 1], OUTLIER_COLUMNS)
    return Residual(
        directions=directions,
        outliers=tuple(map(int, outliers)),
        signs=tuple(map(int, signs)),
    )


class Layers:
    """The tensors of the layers and the final norm."""

    def __init__(self, architecture: Architecture, draw: Draw) -> None:
        self.architecture = architecture
        self.draw = draw
        self.residual = residual(architecture, draw)

    def tensor(self, entry: TensorEntry) -> BFloats | Bytes:
        """A norm, a weight_scale or a packed matrix of architecture.tensors()."""
        if entry.name == "model.norm.weight":
            return self._norm(entry, FINAL_NORM, outlier=0.9)
        if entry.name.endswith("_scale"):
            return np.array([self._scale(entry.name)], np.float32).astype(ml_dtypes.bfloat16)
        prefix, module = self._split(entry.name)
        if module in self.architecture.projections:
            return self._matrix(prefix, module)
        return self._layer_norm(entry, prefix, module)

    def _split(self, name: str) -> tuple[str, str]:
        """("model.layers.3", "mlp.up_proj") of its weight's name."""
        parts = name.removesuffix(".weight").split(".")
        return ".".join(parts[:3]), ".".join(parts[3:])

    def _scale(self, name: str) -> float:
        linear = name.split(".")[-2]
        low, high = SCALES.get(linear, OTHER_SCALES)
        return float(self.draw.stream(name).uniform(low, high))

    def _zeros(self, name: str) -> float:
        return float(self.draw.stream(f"{name} zeros").uniform(*ZEROS))

    def _gain(self, prefix: str, module: str) -> float:
        """Standard deviation of what a projection writes for inputs of standard deviation 1."""
        name = f"{prefix}.{module}.weight"
        columns = self.architecture.projections[module][1]
        return sqrt((1 - self._zeros(name)) * columns) * self._scale(f"{name}_scale")

    def _layer_norm(self, entry: TensorEntry, prefix: str, module: str) -> BFloats:
        if module == "self_attn.attn_sub_norm":
            written = sqrt(ATTENTION_SHARE) * self._written(prefix)
            return self._norm(entry, written / self._gain(prefix, "self_attn.o_proj"))
        if module == "mlp.ffn_sub_norm":
            written = sqrt(1 - ATTENTION_SHARE) * self._written(prefix)
            return self._norm(entry, written / self._gain(prefix, "mlp.down_proj"))
        reader = "self_attn.q_proj" if module == "input_layernorm" else "mlp.gate_proj"
        return self._norm(entry, READ / self._gain(prefix, reader), outlier=0.12)

    def _written(self, prefix: str) -> float:
        """RMS of what a layer adds: the stream grows linearly with depth, to FINAL_RMS."""
        layer, layers = int(prefix.rpartition(".")[2]), self.architecture.num_hidden_layers
        return FINAL_RMS * sqrt(2 * layer + 1) / layers

    def _norm(self, entry: TensorEntry, typical: float, outlier: float = 1.0) -> BFloats:
        """Log-normal around ``typical``; ``outlier`` times that in the outlier columns of the stream."""
        random = self.draw.stream(entry.name)
        weights = typical * np.exp(0.2 * random.standard_normal(entry.shape))
        if outlier != 1.0:
            weights[list(self.residual.outliers)] = typical * outlier
        return weights.astype(np.float32).astype(ml_dtypes.bfloat16)

    def _matrix(self, prefix: str, module: str) -> Bytes:
        name = f"{prefix}.{module}.weight"
        random, zeros = self.draw.stream(name), self._zeros(name)
        rows, columns = self.architecture.projections[module]
        if not module.endswith(WRITERS):
            packed = independent_trits(random, rows, columns, zeros)
            if module.startswith("mlp."):
                self._agree(prefix, packed)
            return packed
        codes = trits_along(random, self.residual.directions, columns, SHARE, zeros)
        if module.startswith("mlp."):
            features = self._positive_features(prefix)
            for column, code in self.residual.constant.items():
                codes[column, features] = code
        return pack(codes)

    def _positive_features(self, prefix: str) -> npt.NDArray[np.int64]:
        """Rows of gate and up below N/4: their trits are the low bits of the packed bytes."""
        quarter = self.architecture.intermediate_size // 4
        chosen = self.draw.stream(f"{prefix} positive features").choice(
            quarter, POSITIVE_FEATURES, replace=False
        )
        return np.sort(chosen)

    def _agree(self, prefix: str, packed: Bytes) -> None:
        """Give gate and up the same trits in the positive features."""
        random = self.draw.stream(f"{prefix} positive rows")
        shared = independent_trits(random, 4 * POSITIVE_FEATURES, self.architecture.hidden_size, ZEROS[0])
        features = self._positive_features(prefix)
        packed[features] = packed[features] & np.uint8(0xFC) | shared & np.uint8(3)
