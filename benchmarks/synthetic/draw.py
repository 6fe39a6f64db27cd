"""Random numbers by name, and the two kinds of random trits.

Every tensor has a stream of its own, so it does not depend on the order of writing or on the other tensors.
"""

from __future__ import annotations

from hashlib import sha256
from statistics import NormalDist

import ml_dtypes
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
BFloats = npt.NDArray[ml_dtypes.bfloat16]

_ROWS = 512  # rows of Gaussian noise in memory at a time


class Draw:
    """Streams of one seed, and one name inside it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> np.random.Generator:
        key = int.from_bytes(sha256(name.encode()).digest()[:16], "little")
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence([self.seed, key])))


def independent_trits(random: np.random.Generator, rows: int, columns: int, zeros: float) -> Bytes:
    """Independent trits in the packed layout, uint8 [rows/4, columns], of which a share ``zeros`` is 0.

    One draw of 16 bits gives the four trits of a byte: codes 1, 0, 2 in their probabilities to 1/65536.
    """
    shares = np.array([(1 - zeros) / 2, zeros, (1 - zeros) / 2])
    codes = np.arange(256, dtype=np.uint8)
    lanes = [codes >> np.uint8(2 * lane) & np.uint8(3) for lane in range(4)]
    valid = np.all([lane < 3 for lane in lanes], axis=0)
    chances = np.prod([shares[np.minimum(lane, 2)] for lane in lanes], axis=0) * valid
    ends = np.rint(np.cumsum(chances) * 65536).astype(np.int64)
    table = np.repeat(codes, np.diff(ends, prepend=0))
    drawn = random.integers(0, 65536, (rows // 4, columns), dtype=np.uint16)
    packed: Bytes = table[drawn]
    return packed


def trits_along(
    random: np.random.Generator, directions: Floats, columns: int, share: float, zeros: float
) -> Bytes:
    """Trit codes, uint8 [N, columns], of a matrix whose columns lean towards the N × R ``directions``.

    ``share`` of the variance before rounding to trits lies in the span of the directions, whatever input the
    matrix is applied to. Directions hold small whole numbers: the products are then exact in float32, and the
    bytes do not depend on the order in which a matrix library adds.
    """
    mixing = np.rint(random.standard_normal((directions.shape[1], columns), np.float32) * 8)
    spread = 8 * np.sqrt((directions.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    weight = (np.sqrt(share) / spread).astype(np.float32)
    limit = np.float32(NormalDist().inv_cdf((1 + zeros) / 2))
    codes = np.empty((len(directions), columns), np.uint8)
    for begin in range(0, len(directions), _ROWS):
        block = slice(begin, begin + _ROWS)
        values = directions[block] @ mixing * weight[block]
        values += random.standard_normal(values.shape, np.float32) * np.float32(np.sqrt(1 - share))
        codes[block] = np.uint8(1) + (values > limit) - (values < -limit)
    return codes


def pack(codes: Bytes) -> Bytes:
    """Codes [N, K] to the packed layout [N/4, K]: byte row r holds rows r, r + N/4, r + 2N/4, r + 3N/4."""
    quarters = codes.reshape(4, len(codes) // 4, -1)
    packed: Bytes = quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6
    return packed
