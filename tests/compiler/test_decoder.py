"""What the engine takes for granted of a graph is proven on the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgebit.compiler.decoder import check_decoder
from edgebit.compiler.fusion import bindings, fuse
from edgebit.compiler.importer import import_onnx
from edgebit.compiler.operators import is_call
from edgebit.errors import CompileError
from edgebit.graph import OnnxModel, build
from edgebit.model import open_checkpoint
from tests.builders import write_checkpoint


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return build(open_checkpoint(write_checkpoint(tmp_path / "m", "packed")))


def node(model: OnnxModel, name: str) -> ir.Node:
    return next(node for node in model.ir.graph if node.name == name)


def test_a_causal_decoder_passes_with_its_caches_in_layer_order(model: OnnxModel) -> None:
    assert check_decoder(model.ir).caches == tuple(
        (f"past_key_values.{i}.key", f"past_key_values.{i}.value") for i in range(2)
    )


def test_a_mask_that_sees_the_future_is_refused(model: OnnxModel) -> None:
    node(model, "mask.causal").op_type = "GreaterOrEqual"
    with pytest.raises(CompileError, match="mask is not causal"):
        check_decoder(model.ir)


def test_a_mask_shifted_by_one_is_refused(model: OnnxModel) -> None:
    node(model, "mask.causal").op_type = "Less"
    with pytest.raises(CompileError, match="mask is not causal"):
        check_decoder(model.ir)


def windowed(folder: Path) -> OnnxModel:
    """A decoder whose first layer sees 5 tokens."""
    checkpoint = open_checkpoint(write_checkpoint(folder / "w", "packed"))
    checkpoint.config = replace(checkpoint.config, layer_windows=(5, 0))
    return build(checkpoint)


def test_a_window_is_found_in_its_mask(tmp_path: Path) -> None:
    model = windowed(tmp_path)
    decoder = check_decoder(model.ir)
    assert decoder.windows == {"model.layers.0.self_attn.attention": 5}
    fused = fuse(import_onnx(model.ir, ("logits",), decoder.windows).module)
    blocks = [value for _, value in bindings(fused) if is_call(value, "attention_block")]
    assert [int(block.attrs["window"]) for block in blocks] == [5, 0]


def test_a_window_that_is_not_behind_its_token_is_refused(tmp_path: Path) -> None:
    model = windowed(tmp_path)
    node(model, "mask.window_5.inside").op_type = "Less"
    with pytest.raises(CompileError, match=r"mask\.window_5 is not causal"):
        check_decoder(model.ir)


def test_swapped_past_and_present_tensors_are_refused(model: OnnxModel) -> None:
    first, second = (node(model, f"model.layers.{i}.self_attn.attention") for i in (0, 1))
    keys = first.inputs[4], second.inputs[4]
    first.replace_input_with(4, keys[1])
    second.replace_input_with(4, keys[0])
    with pytest.raises(CompileError, match=r"layers\.0\.self_attn\.attention.*present key"):
        check_decoder(model.ir)


def test_rotary_positions_from_elsewhere_are_refused(model: OnnxModel) -> None:
    rotary = node(model, "model.layers.1.self_attn.k_rotary")
    rotary.replace_input_with(3, model.ir.graph.inputs[0])
    with pytest.raises(CompileError, match=r"k_rotary.*position_ids"):
        check_decoder(model.ir)


def test_an_unknown_operator_is_named_with_its_node(model: OnnxModel) -> None:
    node(model, "model.layers.0.mlp.relu").domain = "com.example"
    with pytest.raises(
        CompileError, match=r"node model\.layers\.0\.mlp\.relu \(com\.example::Relu\): unknown"
    ):
        import_onnx(model.ir, ("logits",))


def test_an_activation_no_kernel_computes_is_named(model: OnnxModel) -> None:
    node(model, "model.layers.1.mlp.relu").op_type = "Tanh"
    with pytest.raises(CompileError, match=r"model_layers_1_mlp_relu: no kernel computes relax\.tanh"):
        fuse(import_onnx(model.ir, ("logits",)).module)


def test_fusion_leaves_fifteen_kernel_operators_a_layer(model: OnnxModel) -> None:
    imported = import_onnx(model.ir, ("logits",))
    names = [value.op.name for _, value in bindings(fuse(imported.module)) if hasattr(value, "op")]
    layer = ["norm_quantize", *["linear"] * 3, "attention_block", "norm_quantize", "linear", "residual"]
    layer += ["norm_quantize", *["linear"] * 2, "gated", "norm_quantize", "linear", "residual"]
    expected = ["embedding", *layer, *layer, "head"]
    assert names == [f"edgebit.{name}" for name in expected]


def test_an_additive_causal_mask_is_recognised(model: OnnxModel) -> None:
    """Another way to write the same mask: 0 where a key is visible, −1e9 elsewhere."""
    graph = model.ir.graph
    visible = node(model, "mask").outputs[0]
    constants = []
    for name, value in (("zero", 0.0), ("minus", -1e9)):
        constant = ir.Value(name=name, const_value=ir.Tensor(np.array(value, np.float32), name=name))
        graph.initializers[name] = constant
        constants.append(constant)
    bias = ir.node("Where", [visible, *constants], name="bias")
    bias.outputs[0].name = "bias"
    graph.insert_after(node(model, "mask"), bias)
    for layer in range(2):
        node(model, f"model.layers.{layer}.self_attn.attention").replace_input_with(3, bias.outputs[0])
    check_decoder(model.ir)
