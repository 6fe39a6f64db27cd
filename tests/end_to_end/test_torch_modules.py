"""torch modules as bundles: values of torch and onnxruntime, the same bits on every tier with any threads."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import edgebit
from edgebit.host_library import fits_here
from edgebit.nn import BitConv2d, BitLinear
from edgebit.schedules.tier import TIERS, tiers_of
from tests.end_to_end.tensor_runs import Array, bits
from tests.nn.modules import FEATURES, Attention, Indexed, Recurrent, text_classifier
from tests.tensor_graphs import float_layers, row_scales, taken_apart


def by_onnxruntime(file: Path, inputs: dict[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))


def by_edgebit(file: Path, inputs: dict[str, Array], bundle: Path) -> dict[str, Array]:
    with edgebit.load(edgebit.compile(file, "host", bundle)) as model:
        return {name: np.array(value) for name, value in model.run(inputs).items()}


def on_every_tier(bundle: Path, inputs: dict[str, Array]) -> set[str]:
    """The bits of all outputs."""
    tiers = [tier.name for tier in tiers_of("x86_64") if fits_here(TIERS[tier.name])]
    runs = [bits(sys.executable, bundle, inputs, 3, EDGEBIT_TIER=tier) for tier in tiers]
    assert [tier for tier, _ in runs] == tiers
    return {said for _, said in runs}


@pytest.mark.slow
def test_a_transformer_has_the_values_of_torch_and_the_same_bits_on_every_tier(tmp_path: Path) -> None:
    """Attention without and with masks, causal, of grouped queries; a text of which no token is there."""
    module, given = text_classifier()
    file = edgebit.export_torch(module, given, tmp_path / "texts.onnx", ["ids", "there"], ["scores"])
    assert [node.op_type for node in onnx.load(file).graph.node].count("Attention") == 4
    inputs = {name: value.numpy() for name, value in zip(("ids", "there"), given, strict=True)}
    with torch.no_grad():
        expected = module(*given).numpy()
    found = by_edgebit(file, inputs, tmp_path / "bundle")["scores"]
    # Roundings of a few units, with these inputs too few to tip a code.
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(found - by_onnxruntime(file, inputs)["scores"]).max() < 1e-5
    assert on_every_tier(tmp_path / "bundle", inputs) == {found.tobytes().hex()}


@pytest.mark.slow
def test_operators_that_the_standard_explains_have_the_values_of_onnxruntime(tmp_path: Path) -> None:
    onnx.save(taken_apart(), tmp_path / "graph.onnx")
    generator = np.random.default_rng(1)
    shapes = {"x": (2, 6, 64), "past": (2, 2, 3, 16)}
    inputs = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    expected = by_onnxruntime(tmp_path / "graph.onnx", inputs)
    found = by_edgebit(tmp_path / "graph.onnx", inputs, tmp_path / "bundle")
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < 1e-5 * np.abs(value).max()


@pytest.mark.slow
def test_ternary_products_of_floats_have_the_values_of_onnxruntime_and_the_same_bits(tmp_path: Path) -> None:
    onnx.save(float_layers(), tmp_path / "graph.onnx")
    inputs: dict[str, Array] = {"x": np.random.default_rng(2).standard_normal((3, 96)).astype(np.float32)}
    expected = by_onnxruntime(tmp_path / "graph.onnx", inputs)["y"]
    found = by_edgebit(tmp_path / "graph.onnx", inputs, tmp_path / "bundle")["y"]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert on_every_tier(tmp_path / "bundle", inputs) == {found.tobytes().hex()}


@pytest.mark.slow
def test_a_scale_for_each_output_has_the_bits_of_onnxruntime_on_every_tier(tmp_path: Path) -> None:
    onnx.save(row_scales(), tmp_path / "graph.onnx")
    inputs: dict[str, Array] = {"x": np.random.default_rng(5).standard_normal((3, 96)).astype(np.float32)}
    expected = by_onnxruntime(tmp_path / "graph.onnx", inputs)["y"]
    edgebit.compile(tmp_path / "graph.onnx", "host", tmp_path / "bundle")
    assert on_every_tier(tmp_path / "bundle", inputs) == {expected.tobytes().hex()}


@pytest.mark.slow
def test_layers_with_a_scale_for_each_output_have_the_values_of_torch(tmp_path: Path) -> None:
    torch.manual_seed(9)
    module = torch.nn.Sequential(
        BitConv2d(3, 21, 3, granularity="row"),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.LayerNorm(21 * 36),
        BitLinear(21 * 36, 37, granularity="row"),
        BitLinear(37, 10, activation_quantization="none", granularity="row"),
    ).eval()
    x = torch.randn(2, 3, 8, 8)
    file = edgebit.export_torch(module, x, tmp_path / "m.onnx", ["x"], ["y"])
    with torch.no_grad():
        expected = module(x).numpy()
    found = by_edgebit(file, {"x": x.numpy()}, tmp_path / "bundle")["y"]
    # Roundings of a few units, with these inputs too few to tip a code.
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(found - by_onnxruntime(file, {"x": x.numpy()})["y"]).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recurrent", "indexed"])
def test_steps_and_indices_have_the_values_of_torch_and_the_same_bits_on_every_tier(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(10)
    module, given = {
        "recurrent": (Recurrent().eval(), (torch.randn(3, 3, 10),)),
        "indexed": (Indexed(), (torch.randn(2, 9), torch.tensor([3, -1, 0, -9]))),
    }[name]
    inputs = {f"input_{i}": value.numpy() for i, value in enumerate(given)}
    file = edgebit.export_torch(module, given, tmp_path / "m.onnx", list(inputs))
    with torch.no_grad():
        expected = [value.numpy() for value in module(*given)]
    found = by_edgebit(file, inputs, tmp_path / "bundle")
    for value, wanted in zip(found.values(), expected, strict=True):
        assert value.shape == wanted.shape and np.abs(value - wanted).max() < 1e-5
    assert on_every_tier(tmp_path / "bundle", inputs) == {
        b"".join(value.tobytes() for value in found.values()).hex()
    }


@pytest.mark.slow
def test_dimensions_with_names_get_their_sizes_when_it_is_compiled(tmp_path: Path) -> None:
    """Shapes that the graph computes of them are known then."""
    torch.manual_seed(3)
    attention = Attention(2, True).eval()
    module = torch.nn.Sequential(attention, torch.nn.LayerNorm(FEATURES)).eval()
    names = ({0: "batch", 1: "tokens"},)
    x = torch.randn(2, 9, FEATURES)
    file = edgebit.export_torch(module, x, tmp_path / "m.onnx", ["x"], ["y"], dynamic_shapes=names)
    assert "Shape" in [node.op_type for node in onnx.load(file).graph.node]
    x = torch.randn(3, 7, FEATURES)
    with torch.no_grad():
        expected = module(x).numpy()
    bundle = edgebit.compile(file, "host", tmp_path / "bundle", dims={"batch": 3, "tokens": 7})
    with edgebit.load(bundle) as model:
        assert np.abs(np.asarray(model.run(x.numpy())["y"]) - expected).max() < 1e-5


@pytest.mark.slow
def test_torchs_own_encoder_layer_compiles(tmp_path: Path) -> None:
    torch.manual_seed(8)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 48, activation="gelu", batch_first=True, norm_first=True)
    x = torch.randn(2, 7, 32)
    file = edgebit.export_torch(layer, x, tmp_path / "layer.onnx", ["x"], ["y"])
    with torch.no_grad():
        expected = layer.eval()(x).numpy()
    found = by_edgebit(file, {"x": x.numpy()}, tmp_path / "bundle")["y"]
    assert np.abs(found - expected).max() < 1e-5
