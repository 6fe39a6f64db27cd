"""Graphs of tensors in emulated ARM Debian userlands: the bits of this machine on every tier."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import edgebit
from edgebit.nn import BitConv2d, BitLinear
from edgebit.schedules.tier import TIERS
from tests.end_to_end.tensor_runs import Array, bits
from tests.nn.modules import FEATURES, HEADS, Attention
from tests.tensor_graphs import row_scales

ARM64 = {"cortex-a72": "neon", "cortex-a76": "dotprod", "max": "i8mm"}
ARMV7 = ("cortex-a8", "cortex-a15")  # without division and VFPv4, and with them


class Encoder(nn.Module):
    """Attention that keeps away from what is not there, and a GELU; int8 activations."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(FEATURES), nn.LayerNorm(FEATURES)])
        self.attention = Attention(HEADS // 2, causal=False)
        self.up, self.down = BitLinear(FEATURES, 100), BitLinear(100, FEATURES, granularity="row")

    def forward(self, x: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norms[0](x), there[:, None, None, :])
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


def encoder() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    there = torch.rand(2, 7) > 0.3
    return Encoder(), {"x": torch.randn(2, 7, FEATURES), "there": there}


def float_layers() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Ternary products of floats: of many rows, of few, of one; sizes that are no multiples of 64 and 16."""
    module = nn.Sequential(
        BitConv2d(3, 20, 3, activation_quantization="none"),
        nn.SiLU(),
        nn.Flatten(),
        BitLinear(720, 50, activation_quantization="none"),
        nn.Softmax(-1),
        BitLinear(50, 33, activation_quantization="none", granularity="row"),
    )
    return module, {"x": torch.randn(1, 3, 8, 8)}


def exported(name: str, folder: Path) -> tuple[Path, dict[str, Array]]:
    torch.manual_seed(11)
    module, inputs = {"encoder": encoder, "float layers": float_layers}[name]()
    file = edgebit.export_torch(module, tuple(inputs.values()), folder / "m.onnx", list(inputs), ["y"])
    return file, {each: value.numpy() for each, value in inputs.items()}


def of_this_machine(file: Path, inputs: dict[str, Array], folder: Path) -> str:
    return bits(sys.executable, edgebit.compile(file, "host", folder / "host"), inputs, 1)[1]


@pytest.mark.slow
@pytest.mark.arm
@pytest.mark.parametrize("name", ["encoder", "float layers"])
def test_torch_modules_have_the_bits_of_this_machine_on_every_arm_tier(
    name: str, tmp_path: Path, arm_python: Path, armhf_python: Path
) -> None:
    file, inputs = exported(name, tmp_path)
    here = of_this_machine(file, inputs, tmp_path)
    bundle = edgebit.compile(file, "arm64", tmp_path / "arm64")
    for cpu, tier in ARM64.items():
        assert bits(arm_python, bundle, inputs, 2, EB_CPU=cpu) == (tier, here)
    bundle = edgebit.compile(file, "armv7", tmp_path / "armv7")
    for cpu in ARMV7:
        tier, there = bits(armhf_python, bundle, inputs, 2, EB_CPU=cpu)
        assert TIERS[tier].architecture == "armv7" and there == here


@pytest.mark.slow
@pytest.mark.arm
def test_a_scale_for_each_output_has_the_bits_of_this_machine_on_every_arm_tier(
    tmp_path: Path, arm_python: Path
) -> None:
    onnx.save(row_scales(), tmp_path / "m.onnx")
    inputs: dict[str, Array] = {"x": torch.randn(3, 96, generator=torch.manual_seed(12)).numpy()}
    here = of_this_machine(tmp_path / "m.onnx", inputs, tmp_path)
    bundle = edgebit.compile(tmp_path / "m.onnx", "arm64", tmp_path / "arm64")
    for cpu, tier in ARM64.items():
        assert bits(arm_python, bundle, inputs, 2, EB_CPU=cpu) == (tier, here)
