"""The quantisers of BitNet b1.58 (SPEC 1.3) with straight-through gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LARGEST_CODE, SMALLEST_CODE = 127, -128
SMALLEST_SCALE = 1e-5


class _Round(torch.autograd.Function):
    """To the nearest integer of a range, ties to even; the gradient passes as if nothing had been rounded."""

    @staticmethod
    def forward(context: Any, x: Tensor, low: int, high: int) -> Tensor:
        return x.round().clamp(low, high)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[Any, None, None]:
        return gradients[0], None, None


def activation_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes (as floats) of each row of the last dimension, and the scale [..., 1] that made them."""
    scale = LARGEST_CODE * x.detach().abs().amax(-1, keepdim=True).clamp(min=SMALLEST_SCALE).reciprocal()
    return _Round.apply(x * scale, SMALLEST_CODE, LARGEST_CODE), scale


def weight_trits(weight: Tensor, granularity: str = "tensor") -> tuple[Tensor, Tensor]:
    """Trits (as floats) of a weight [N, K], and the multipliers that give them back its size (absmean).

    ``granularity``: "tensor" for one multiplier [1], "row" for one of each row [N].
    """
    size = weight.detach().abs()
    mean = size.mean(-1, keepdim=True) if granularity == "row" else size.mean()
    scale = mean.clamp(min=SMALLEST_SCALE).reciprocal()
    return _Round.apply(weight * scale, -1, 1), scale.reciprocal().reshape(-1)


def ternary_linear(
    x: Tensor, weight: Tensor, activation_quantization: str = "int8", granularity: str = "tensor"
) -> Tensor:
    """``x`` [..., K] float32 times a float master ``weight`` [N, K], both quantised: [..., N].

    The values are those of the compiled model, training included: sums of products of codes and trits are
    whole numbers below 2²⁴, which float32 holds exactly, up to K = 131072. With the activation quantisation
    "none" ``x`` stays as it is, and sums differ by the order of their terms.
    """
    trits, multiplier = weight_trits(weight, granularity)
    if activation_quantization == "none":
        return functional.linear(x, trits) * multiplier
    codes, scale = activation_codes(x)
    return functional.linear(codes, trits) * (multiplier / scale)
