"""Ternary layers of torch: the values of SPEC 1.3, straight-through gradients, and the exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import edgebit
from edgebit.errors import EdgebitError
from edgebit.nn import BitConv2d, BitLinear, activation_codes, weight_trits
from edgebit.nn.export import pack_trits, unpack_trits

Floats = npt.NDArray[np.float32]


def quantized_rows(x: Floats) -> tuple[Floats, Floats]:
    """SPEC 1.3, step by step in float32: 127 times the reciprocal, ties to even."""
    absmax = np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
    scale = np.float32(127) * (np.float32(1) / absmax)
    return np.clip(np.rint(x * scale), -128, 127).astype(np.float32), scale


def product(x: Floats, weight: Floats, granularity: str = "tensor") -> Floats:
    codes, scale = quantized_rows(x)
    mean = np.abs(weight).mean(-1 if granularity == "row" else None, np.float32, keepdims=True)
    size = np.maximum(mean, np.float32(1e-5))
    weight_scale = np.float32(1) / size
    trits = np.clip(np.rint(weight * weight_scale), -1, 1)
    accumulator = codes.astype(np.int32) @ trits.astype(np.int32).T
    return accumulator.astype(np.float32) * ((np.float32(1) / weight_scale).reshape(1, 1, -1) / scale)


def test_codes_are_those_of_the_reciprocal_and_of_ties_to_even() -> None:
    x = torch.tensor([[2.0, 1.0, -2.0, 0.5 * 2 / 127, 1.5 * 2 / 127], [0.0] * 5])
    codes, scale = activation_codes(x)
    expected, expected_scale = quantized_rows(x.numpy())
    assert np.array_equal(codes.numpy(), expected) and np.array_equal(scale.numpy(), expected_scale)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_bit_linear_has_the_values_of_the_specification_in_training_too(granularity: str) -> None:
    torch.manual_seed(1)
    layer = BitLinear(40, 21, bias=False, granularity=granularity)
    x = torch.randn(3, 7, 40)
    expected = product(x.numpy(), layer.weight.detach().numpy(), granularity)
    for mode in (layer.train(), layer.eval()):
        assert np.abs(mode(x).detach().numpy() - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), ((2, 3), (2, 1), 0), (1, 1, 0), (5, 2, (2, 1))]
)
def test_bit_conv2d_is_a_convolution_of_codes(
    kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int | tuple[int, int]
) -> None:
    """Where all patches have the same largest value, it is torch's convolution of codes and trits."""
    torch.manual_seed(2)
    layer = BitConv2d(4, 6, kernel, stride, padding)
    x = torch.randint(0, 2, (2, 4, 9, 8)).float() * 2 - 1
    trits, size = weight_trits(layer.weight.detach())
    assert layer.bias is not None
    expected = nn.functional.conv2d(x, trits * size, layer.bias.detach(), stride, padding)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_gradients_pass_the_quantisers() -> None:
    torch.manual_seed(3)
    layer = BitLinear(32, 8, bias=False)
    x = torch.randn(5, 32, requires_grad=True)
    layer(x).sum().backward()
    trits, size = weight_trits(layer.weight.detach())
    codes, scale = activation_codes(x.detach())
    assert x.grad is not None and layer.weight.grad is not None
    assert torch.allclose(x.grad, (trits * size).sum(0).expand_as(x), atol=1e-6)
    assert torch.allclose(layer.weight.grad, (codes / scale).sum(0).expand_as(layer.weight), atol=1e-4)


def test_activations_stay_floats_where_they_are_not_quantised() -> None:
    torch.manual_seed(5)
    layer = BitLinear(30, 9, activation_quantization="none")
    x = torch.randn(4, 30, requires_grad=True)
    trits, size = weight_trits(layer.weight.detach())
    y = layer(x)
    assert layer.bias is not None
    assert torch.allclose(y, nn.functional.linear(x, trits * size, layer.bias), atol=1e-6)
    y.sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    assert torch.allclose(x.grad, (trits * size).sum(0).expand_as(x), atol=1e-6)
    assert torch.allclose(layer.weight.grad, x.detach().sum(0).expand(9, 30), atol=1e-5)
    with pytest.raises(ValueError, match="'float': expected 'int8' or 'none'"):
        BitLinear(30, 9, activation_quantization="float")
    with pytest.raises(ValueError, match="granularity 'group': expected 'tensor' or 'row'"):
        BitConv2d(3, 9, 3, granularity="group")


def test_trits_are_packed_low_bits_first() -> None:
    packed = pack_trits(torch.tensor([[-1.0, 0.0, 1.0, -1.0, 1.0]]))
    assert packed.tolist() == [[0b00_10_01_00, 0b01_01_01_10]]
    assert unpack_trits(packed).tolist() == [[-1, 0, 1, -1, 1, 0, 0, 0]]


def model() -> nn.Module:
    torch.manual_seed(4)
    layers = nn.Sequential(
        BitConv2d(3, 20, 3, padding=1),
        nn.BatchNorm2d(20),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(80),
        BitLinear(80, 33),
        nn.SiLU(),
        BitLinear(33, 21, activation_quantization="none"),
        nn.Linear(21, 10),
    )
    layers(torch.randn(16, 3, 8, 8))  # running statistics that are not zero and one
    return layers


def test_the_exported_file_is_valid_and_onnxruntime_gives_its_values(tmp_path: Path) -> None:
    """Within 1e-5: roundings of a few units, with these inputs too few to tip a code."""
    module, x = model(), torch.randn(2, 3, 8, 8)
    file = edgebit.export_torch(module, x, tmp_path / "m.onnx", ["image"], ["scores"])
    assert module.training  # as it was
    onnx.checker.check_model(str(file), full_check=True)
    graph = onnx.load(file).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("BitLinear") == 2 and operators.count("TernaryMatMul") == 1
    assert {tensor.data_type for tensor in graph.initializer if tensor.name.endswith("0.weight")} == {
        onnx.TensorProto.UINT8
    }
    (scores,) = onnxruntime.InferenceSession(str(file)).run(None, {"image": x.numpy()})
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert np.abs(scores - expected).max() < 1e-5


def test_a_dimension_keeps_its_name_and_the_ternary_layers_their_values(tmp_path: Path) -> None:
    module = nn.Sequential(BitLinear(8, 4), nn.ReLU(), BitLinear(4, 2, activation_quantization="none")).eval()
    file = edgebit.export_torch(
        module, torch.zeros(2, 8), tmp_path / "m.onnx", ["x"], ["y"], dynamic_shapes=({0: "rows"},)
    )
    x = torch.randn(5, 8)
    (y,) = onnxruntime.InferenceSession(str(file)).run(None, {"x": x.numpy()})
    with torch.no_grad():
        assert np.abs(y - module(x).numpy()).max() < 1e-6


class Undecided(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_torch_cannot_export_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        EdgebitError, match=r"Undecided: torch.onnx.export cannot export it: .*data-dependent"
    ) as caught:
        edgebit.export_torch(Undecided(), torch.zeros(3), tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
    for channels, wrong in ((3, 4), (1, 2)):
        with pytest.raises(EdgebitError, match=f"a ternary layer of {channels} inputs is given {wrong}"):
            edgebit.export_torch(BitLinear(channels, 2), torch.zeros(1, wrong), tmp_path / "m.onnx")
    with pytest.raises(EdgebitError, match="1 inputs and 2 input_names: a, b"):
        edgebit.export_torch(BitLinear(4, 2), torch.zeros(1, 4), tmp_path / "m.onnx", ["a", "b"])
    with pytest.raises(EdgebitError, match="1 outputs and 2 output_names: a, b"):
        edgebit.export_torch(BitLinear(4, 2), torch.zeros(1, 4), tmp_path / "m.onnx", None, ["a", "b"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(EdgebitError, match="name a file that ends in"):
        edgebit.export_torch(model(), torch.zeros(1, 3, 8, 8), tmp_path / "m.pt")
