"""The float kernels in numpy, one float32 operation at a time, in the canonical order.

numpy rounds every product, sum, quotient and square root on its own, which is what the kernels promise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
f32 = np.float32

MAGIC = f32(12582912.0)
KEY_CHUNK = 128
LOWEST = np.finfo(f32).min
EXP_COEFFICIENTS = (
    0.0013814540579915047,
    0.00836874544620514,
    0.04166838899254799,
    0.1666652113199234,
    0.4999999403953552,
)
EXP2_COEFFICIENTS = (0.00958283618092537, 0.05590641498565674, 0.24024099111557007, 0.6931241750717163)


def tree_sum(x: Array) -> Array:
    """Sum over the last axis (a power of two): upper half onto lower half."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]


def interleaved_sum(x: Array) -> Array:
    """Sum over the last axis: 64 interleaved partial sums, ((a0 + a1) + (a2 + a3)), tree over 16 lanes."""
    blocks = x.reshape(*x.shape[:-1], -1, 4, 16)
    partial = np.zeros((*x.shape[:-1], 4, 16), f32)
    for block in range(blocks.shape[-3]):
        partial = partial + blocks[..., block, :, :]
    return tree_sum((partial[..., 0, :] + partial[..., 1, :]) + (partial[..., 2, :] + partial[..., 3, :]))


def round_significant(x: Array, bits: int) -> Array:
    u = x.view(np.uint32).astype(np.uint64)
    dropped = 24 - bits
    rounded = (u + (1 << (dropped - 1)) - 1 + ((u >> dropped) & 1)) & ~np.uint64((1 << dropped) - 1)
    result = rounded.astype(np.uint32).view(f32)
    return np.where(np.abs(x) < f32(2.0**-64), f32(0), result)


def exp(x: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # far below -87, where the result is not taken
        rounded = x * f32(1.4426950408889634) + MAGIC
        k = rounded - MAGIC
        r = x - k * f32(0.693145751953125)
        r = r - k * f32(1.4286068203094172e-06)
        p = np.full_like(x, EXP_COEFFICIENTS[0])
        for coefficient in EXP_COEFFICIENTS[1:]:
            p = p * r + f32(coefficient)
        p = (p * r) * r + r
        p = p + f32(1)
    exponent = rounded.view(np.uint32) << np.uint32(23)
    return np.where(x < f32(-87), f32(0), (p.view(np.uint32) + exponent).view(f32))


def exp_rounded(x: Array, bits: int) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # far below -44, where the result is not taken
        power = x * f32(1.4426950408889634)
        rounded = power + MAGIC
        f = power - (rounded - MAGIC)
        p = np.full_like(x, EXP2_COEFFICIENTS[0])
        for coefficient in (*EXP2_COEFFICIENTS[1:], 1):
            p = p * f + f32(coefficient)
    half = np.uint32(1 << (23 - bits))
    u = (rounded.view(np.uint32) << np.uint32(23)) + p.view(np.uint32) + half
    return np.where(x < f32(-44), f32(0), (u & ~(half + half - np.uint32(1))).view(f32))


def f32_to_f16(x: Array) -> Array:
    return np.clip(x, f32(-65504), f32(65504)).astype(np.float16).view(np.uint16)


def f16_to_f32(x: Array) -> Array:
    return x.view(np.float16).astype(f32)


def bf16_to_f32(x: Array) -> Array:
    return (x.astype(np.uint32) << 16).view(f32)


def quantize(y: Array) -> tuple[Array, Array, Array]:
    """int8 codes, int32 sums and scales of rows."""
    absmax = np.maximum(np.abs(y).max(axis=-1), f32(1e-5))
    scale = f32(127) * (f32(1) / absmax)
    shifted = y * scale[..., None] + MAGIC
    codes = shifted.view(np.uint32).astype(np.uint8).view(np.int8)
    return codes, codes.sum(axis=-1, dtype=np.int32), scale


def rmsnorm(x: Array, weight: Array, width: int, eps: float) -> Array:
    mean = interleaved_sum(x * x) / f32(width)
    inverse = f32(1) / np.sqrt(mean + f32(eps))
    return (x * inverse[..., None]) * weight


def relu2(x: Array) -> Array:
    positive = np.where(x > 0, x, f32(0))
    return positive * positive


def silu(x: Array) -> Array:
    return x * _sigmoid(x)


def gelu_tanh(x: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        cubic = x * x * x * f32(0.044715)
        return x * _sigmoid((x + cubic) * f32(1.5957691216057308))


def _sigmoid(x: Array) -> Array:
    e = exp(-np.abs(x))
    return np.where(x >= 0, f32(1), e) / (f32(1) + e)


def head_norm(x: Array, weight: Array, eps: float) -> Array:
    """x [...][D], weight [D]; the sum takes the vectors of a head as a padded row's."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 64)])
    mean = interleaved_sum(padded * padded) / f32(x.shape[-1])
    inverse = f32(1) / np.sqrt(mean + f32(eps))
    return (x * inverse[..., None]) * weight


def normalize(x: Array, states: int) -> Array:
    mean = x / f32(states)
    length = np.maximum(np.sqrt(interleaved_sum(mean * mean)), f32(1e-12))
    result = mean / length[..., None]
    return np.where(np.isnan(result), np.uint32(0x7FC00000).view(f32), result)


def lm_head(table: Array, h: Array) -> Array:
    """`table` bfloat16 as uint16 [V][P], h with 16 significant bits."""
    logits = interleaved_sum(bf16_to_f32(table) * (h * f32(2.0**63))) * f32(2.0**-63)
    return np.where(np.isnan(logits), np.uint32(0x7FC00000).view(f32), logits)


def rope(x: Array, cos: Array, sin: Array) -> Array:
    """x [n][heads][D], cos and sin [n][D / 2]."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    c, s = cos[:, None, :], sin[:, None, :]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def quantize_cache(x: Array) -> tuple[Array, Array]:
    """int8 codes and scales of keys or values [...][D]."""
    codes, _, _ = quantize(x)
    absmax = np.maximum(np.abs(x).max(axis=-1), f32(1e-5))
    return codes, absmax * f32(1 / 127)


def attention(
    query: Array,
    keys: Array,
    values: Array,
    last: Array,
    scale: float,
    key_scales: Array | None = None,
    value_scales: Array | None = None,
    window: int = 0,
) -> Array:
    """Rows query [R][D] of one key head, of 13 significant bits; last [R]: the last key each may see, the
    last of ``window`` if not 0.

    keys and values float32 [K][D], of float16 or codes with scales [K]. Chunks of 128 keys, merged in
    ascending order.
    """
    rows, head_dim = query.shape
    maximum, weight = np.full(rows, LOWEST), np.zeros(rows, f32)
    total = np.zeros((rows, head_dim), f32)
    for first in range(0, last.max() + 1, KEY_CHUNK):
        chunk = slice(first, first + KEY_CHUNK)
        k, v = keys[chunk], values[chunk]
        dot = np.zeros((rows, len(k)), f32)
        for d in range(head_dim):
            dot = dot + query[:, d, None] * k[:, d]
        scores = np.full((rows, KEY_CHUNK), -np.inf, f32)
        scores[:, : len(k)] = dot * f32(scale)
        if key_scales is not None:
            scores[:, : len(k)] *= key_scales[chunk]
        places = np.arange(first, first + KEY_CHUNK)
        scores[places > last[:, None]] = -np.inf
        if window:
            scores[places <= last[:, None] - window] = -np.inf
        m = np.maximum(scores.max(axis=1), LOWEST)
        p = exp_rounded(scores - m[:, None], 13)
        lanes, o = np.zeros((rows, 16), f32), np.zeros((rows, head_dim), f32)
        for block in range(KEY_CHUNK // 16):
            lanes = lanes + p[:, block * 16 : block * 16 + 16]
        p = p[:, : len(k)]
        if value_scales is not None:
            p = round_significant(p * value_scales[chunk], 13)
        for key in range(len(k)):
            o = o + p[:, key, None] * v[key]
        merged = np.maximum(maximum, m)
        a, b = exp(maximum - merged), exp(m - merged)
        maximum, weight = merged, weight * a + tree_sum(lanes) * b
        total = total * a[:, None] + o * b[:, None]
    return total * (f32(1) / weight)[:, None]
