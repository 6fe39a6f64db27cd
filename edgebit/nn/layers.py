"""Layers of ternary weights, in the place of torch.nn.Linear and torch.nn.Conv2d.

Activations are int8 of each row (BitNet b1.58), or floats with ``activation_quantization="none"`` (TriLM).

Weights are float masters while they are trained and are quantised in every forward pass; what is exported is
the trits and their multipliers: one of a layer, or with ``granularity="row"`` one of each output. A norm
before each layer (RMSNorm, LayerNorm, BatchNorm2d) helps: rows are quantised by their largest value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgebit.model.families import ACTIVATION_QUANTIZATIONS
from edgebit.nn.quantize import ternary_linear

GRANULARITIES = ("tensor", "row")

LARGEST_FEATURES = 131072  # of a row: sums of more are not exact in float32


class BitLinear(nn.Module):
    """y = x · Wᵀ + b with W in {-1, 0, 1} times a multiplier, x as int8 of each row or as it is."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation_quantization: str = "int8",
        granularity: str = "tensor",
    ) -> None:
        super().__init__()
        _check_features(in_features)
        self.activation_quantization, self.granularity = _known(activation_quantization, granularity)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(ternary_linear(x, self.matrix(), self.activation_quantization, self.granularity))

    def matrix(self) -> Tensor:
        """The weight as [N, K] of the product."""
        return self.weight

    def finish(self, product: Tensor) -> Tensor:
        """What follows the ternary product."""
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        shape = f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
        return f"{shape}, {_quantization(self)}"


class BitConv2d(nn.Module):
    """A convolution of [B, C, H, W] as the ternary product of its patches, each a row with its own scale.

    Kernel, stride and zero padding in both directions; a weight [N, C, kH, kW] as torch.nn.Conv2d has it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        activation_quantization: str = "int8",
        granularity: str = "tensor",
    ) -> None:
        super().__init__()
        self.activation_quantization, self.granularity = _known(activation_quantization, granularity)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size, self.stride, self.padding = map(_pair, (kernel_size, stride, padding))
        _check_features(in_channels * math.prod(self.kernel_size))
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(
            ternary_linear(self.patches(x), self.matrix(), self.activation_quantization, self.granularity)
        )

    def matrix(self) -> Tensor:
        """The weight as [N, kH · kW · C]: in the order of `patches`."""
        return self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1)

    def patches(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, H', W', kH · kW · C], channels last: a copy of whole rows of channels."""
        (kernel_h, kernel_w), (pad_h, pad_w) = self.kernel_size, self.padding
        if any(self.padding):
            x = nn.functional.pad(x, (pad_w, pad_w, pad_h, pad_h))
        batch, channels, height, width = x.shape
        out_h = (height - kernel_h) // self.stride[0] + 1
        out_w = (width - kernel_w) // self.stride[1] + 1
        top = torch.arange(out_h, device=x.device) * self.stride[0]
        left = torch.arange(out_w, device=x.device) * self.stride[1]
        rows = top[:, None, None, None] + torch.arange(kernel_h, device=x.device)[:, None]
        columns = left[:, None, None] + torch.arange(kernel_w, device=x.device)
        places = (rows * width + columns).reshape(-1)
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        return pixels.index_select(1, places).reshape(batch, out_h, out_w, kernel_h * kernel_w * channels)

    def finish(self, product: Tensor) -> Tensor:
        """What follows the ternary product: bias, and channels in front again."""
        y = product if self.bias is None else product + self.bias
        return y.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        shape = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        bias = f"bias={self.bias is not None}, {_quantization(self)}"
        return f"{shape}, stride={self.stride}, padding={self.padding}, {bias}"


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _known(activation_quantization: str, granularity: str) -> tuple[str, str]:
    for name, given, known in (
        ("activation_quantization", activation_quantization, ACTIVATION_QUANTIZATIONS),
        ("granularity", granularity, GRANULARITIES),
    ):
        if given not in known:
            raise ValueError(f"{name} {given!r}: expected {' or '.join(map(repr, known))}")
    return activation_quantization, granularity


def _quantization(layer: BitLinear | BitConv2d) -> str:
    return f"activation_quantization={layer.activation_quantization!r}, granularity={layer.granularity!r}"


def _check_features(count: int) -> None:
    if not 1 <= count <= LARGEST_FEATURES:
        raise ValueError(f"{count} features of a row: 1 to {LARGEST_FEATURES} have exact sums")
