"""Float types of ggml that keep blocks of integers with scales, decoded to float32 (an embedding, a head).

Q8_0: 32 values in 34 bytes, float16 d and int8 q: d q. Q6_K: 256 values in 210 bytes, their low four bits
ql[128], high two bits qh[64], int8 scales[16] (of 16 values each), float16 d: d scale (q - 32).
Q2_0 and its kin: see group_trits.
Source: dequantize_row_q8_0 and dequantize_row_q6_K of ggml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def _float16(block_bytes: Bytes) -> Floats:
    return np.ascontiguousarray(block_bytes).view("<f2").astype(np.float32)


def _q8_0(stored: Bytes) -> Floats:
    blocks = stored.reshape(-1, 34)
    codes = np.ascontiguousarray(blocks[:, 2:]).view(np.int8)
    return np.asarray(codes * _float16(blocks[:, :2]), np.float32)


def _q6_k(stored: Bytes) -> Floats:
    """Value 32 l + m of half a block has its low bits in ql[32 (l % 2) + m] >> 4 (l / 2), its high bits in
    qh[m] >> 2 l.
    """
    blocks = stored.reshape(-1, 210)
    low = blocks[:, :128].reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8)[:, None]
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]
    codes = (low & np.uint8(15)).reshape(-1, 2, 4, 32) | (high & np.uint8(3)) << np.uint8(4)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8) * _float16(blocks[:, 208:])
    values = (codes.astype(np.int8) - np.int8(32)).reshape(-1, 16, 16)
    return np.asarray(values * scales[..., None], np.float32)


def _q2_0(group: int) -> Callable[[Bytes], Floats]:
    def decode(stored: Bytes) -> Floats:
        blocks = stored.reshape(-1, 2 + group // 4)
        codes = (blocks[:, 2:, None] >> np.array([0, 2, 4, 6], np.uint8)) & np.uint8(3)
        values = codes.reshape(-1, group).astype(np.int8) - np.int8(1)
        return np.asarray(values * _float16(blocks[:, :2]), np.float32)

    return decode


BLOCK_DECODERS: Mapping[str, Callable[[Bytes], Floats]] = {
    "Q8_0": _q8_0,
    "Q6_K": _q6_k,
    "Q2_0": _q2_0(64),
    "Q2_0 of 128": _q2_0(128),
    "PQ2_0": _q2_0(128),
}
