"""The graph of a checkpoint: its nodes, its types, and that ONNX itself accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from edgebit.graph import build, check, load
from edgebit.graph.rotary import rotary_tables
from edgebit.model import Llama3Scaling, open_checkpoint, unpack_codes
from tests.builders import CHAT_TEMPLATE, GROUPED, LAYOUTS, ODD, TINY, Shape, write_checkpoint
from tests.graph.exporting import export

SHAPES = pytest.mark.parametrize("shape", [TINY, ODD, GROUPED], ids=["tiny", "odd", "grouped"])


def layer_nodes(folder: Path, layer: int) -> list[tuple[str, str, str]]:
    """Domain, operator and name (relative to the layer) of a layer's nodes, in order."""
    prefix = f"model.layers.{layer}."
    graph = build(open_checkpoint(folder)).ir.graph
    return [
        (n.domain, n.op_type, n.name[len(prefix) :]) for n in graph if n.name and n.name.startswith(prefix)
    ]


ATTENTION_INPUT = [
    ("", "RMSNormalization", "input_layernorm"),
    ("ai.edgebit", "QuantizeActivation", "self_attn.quantize"),
    ("ai.edgebit", "TernaryMatMulInteger", "self_attn.q_proj.matmul"),
    ("ai.edgebit", "DequantizeAccumulator", "self_attn.q_proj"),
    ("ai.edgebit", "TernaryMatMulInteger", "self_attn.k_proj.matmul"),
    ("ai.edgebit", "DequantizeAccumulator", "self_attn.k_proj"),
    ("ai.edgebit", "TernaryMatMulInteger", "self_attn.v_proj.matmul"),
    ("ai.edgebit", "DequantizeAccumulator", "self_attn.v_proj"),
    ("", "RotaryEmbedding", "self_attn.q_rotary"),
    ("", "RotaryEmbedding", "self_attn.k_rotary"),
    ("", "Attention", "self_attn.attention"),
]
ATTENTION_OUTPUT = [("ai.edgebit", "BitLinear", "self_attn.o_proj"), ("", "Add", "self_attn.residual")]
MLP_INPUT = [
    ("", "RMSNormalization", "post_attention_layernorm"),
    ("ai.edgebit", "QuantizeActivation", "mlp.quantize"),
    ("ai.edgebit", "TernaryMatMulInteger", "mlp.gate_proj.matmul"),
    ("ai.edgebit", "DequantizeAccumulator", "mlp.gate_proj"),
    ("ai.edgebit", "TernaryMatMulInteger", "mlp.up_proj.matmul"),
    ("ai.edgebit", "DequantizeAccumulator", "mlp.up_proj"),
]
MLP_OUTPUT = [("ai.edgebit", "BitLinear", "mlp.down_proj"), ("", "Add", "mlp.residual")]


def test_a_bitnet_layer_has_sub_norms_and_squared_relu(tmp_path: Path) -> None:
    assert layer_nodes(write_checkpoint(tmp_path, "packed"), 1) == [
        *ATTENTION_INPUT,
        ("", "RMSNormalization", "self_attn.attn_sub_norm"),
        *ATTENTION_OUTPUT,
        *MLP_INPUT,
        ("", "Relu", "mlp.relu"),
        ("", "Mul", "mlp.activation"),
        ("", "Mul", "mlp.gated"),
        ("", "RMSNormalization", "mlp.ffn_sub_norm"),
        *MLP_OUTPUT,
    ]


def test_a_llama_layer_has_silu_and_no_sub_norms(tmp_path: Path) -> None:
    assert layer_nodes(write_checkpoint(tmp_path, "llama"), 0) == [
        *ATTENTION_INPUT,
        *ATTENTION_OUTPUT,
        *MLP_INPUT,
        ("", "Sigmoid", "mlp.sigmoid"),
        ("", "Mul", "mlp.activation"),
        ("", "Mul", "mlp.gated"),
        *MLP_OUTPUT,
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_and_outputs_are_named_as_onnxruntime_genai_expects(tmp_path: Path, layout: str) -> None:
    graph = build(open_checkpoint(write_checkpoint(tmp_path, layout))).ir.graph
    caches = [f"{layer}.{part}" for layer in range(TINY.layers) for part in ("key", "value")]
    inputs = {str(v.name): [str(d) for d in v.shape or ()] for v in graph.inputs}
    outputs = {str(v.name): [str(d) for d in v.shape or ()] for v in graph.outputs}
    assert list(inputs) == [
        "input_ids",
        "attention_mask",
        "position_ids",
        *(f"past_key_values.{c}" for c in caches),
    ]
    assert list(outputs) == ["logits", *(f"present.{c}" for c in caches)]
    assert inputs["attention_mask"] == ["batch_size", "past_sequence_length + sequence_length"]
    assert inputs["past_key_values.1.value"] == ["batch_size", "2", "past_sequence_length", "32"]
    assert outputs["present.1.value"] == ["batch_size", "2", "past_sequence_length + sequence_length", "32"]
    assert outputs["logits"] == ["batch_size", "sequence_length", "320"]


@SHAPES
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_checker_and_strict_shape_inference_accept_every_graph(
    tmp_path: Path, layout: str, shape: Shape
) -> None:
    check(export(write_checkpoint(tmp_path / "model", layout, shape), tmp_path / "onnx"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_value_carries_the_type_that_inference_finds(tmp_path: Path, layout: str) -> None:
    folder = export(write_checkpoint(tmp_path / "model", layout), tmp_path / "onnx")
    declared = {
        str(value.name): (value.dtype, [str(d) for d in value.shape or ()])
        for node in load(folder).ir.graph
        for value in node.outputs
    }
    bare = onnx.load(folder / "model.onnx", load_external_data=False)
    del bare.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph
    assert len(inferred.value_info) == len(declared) - len(bare.graph.output)
    for info in inferred.value_info:
        dims = [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim]
        dtype, shape = declared[info.name]
        assert ir.DataType(info.type.tensor_type.elem_type) == dtype, info.name
        assert all(str(d) == s for d, s in zip(dims, shape, strict=True) if d), info.name


def test_versions_and_metadata(tmp_path: Path) -> None:
    model = build(open_checkpoint(write_checkpoint(tmp_path / "somebody", "packed")))
    assert model.ir.ir_version == 10
    assert dict(model.ir.graph.opset_imports) == {"": 23, "ai.edgebit": 1}
    assert {f.name for f in model.ir.functions.values()} == {
        "QuantizeActivation",
        "UnpackTernary",
        "TernaryMatMulInteger",
        "DequantizeAccumulator",
        "BitLinear",
        "PoolLast",
        "PoolMean",
        "Normalize",
        "TernaryMatMul",
    }
    assert model.metadata.name == "somebody"
    assert model.metadata.family == "bitnet"
    assert model.metadata.context_length == TINY.positions
    assert model.metadata.bos_token_id == 317
    assert model.metadata.stop_token_ids == (318, 319)
    assert model.metadata.chat_template == CHAT_TEMPLATE
    assert model.tokenizer == (tmp_path / "somebody" / "tokenizer.json").read_bytes()


def test_initializers_hold_the_weights_of_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, "llama"))
    weights = build(checkpoint).ir.graph.initializers
    projection = checkpoint.projection("model.layers.1.mlp.up_proj")

    def value(name: str) -> np.ndarray:
        tensor = weights[name].const_value
        assert tensor is not None
        return tensor.numpy()

    packed = value("model.layers.1.mlp.up_proj.weight")
    assert packed.shape == (TINY.intermediate_size, TINY.hidden_size // 4)
    assert (unpack_codes(packed) == unpack_codes(projection.packed())).all()
    assert value("model.layers.1.mlp.up_proj.weight_scale") == projection.scale
    assert value("model.norm.weight").dtype == np.float32
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert (value(name).view(np.uint16) == checkpoint.float_tensor(name).view(np.uint16)).all()


LLAMA3 = Llama3Scaling(8.0, 1.0, 4.0, 8192)


@pytest.mark.parametrize(
    ("head_dim", "theta", "scaling"),
    [(128, 500000.0, None), (64, 10000.0, None), (256, 1000042.0, None), (128, 500000.0, LLAMA3)],
)
def test_rotary_tables_are_those_of_transformers(
    head_dim: int, theta: float, scaling: Llama3Scaling | None
) -> None:
    """Equal angles; cosine and sine may differ by a unit in the last place of one."""
    positions = 4096
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if scaling is not None:
        parameters |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_positions,
        }
    config = LlamaConfig(hidden_size=head_dim, num_attention_heads=1, rope_parameters=parameters)
    x = torch.zeros(1, positions, head_dim)
    expected = LlamaRotaryEmbedding(config)(x, torch.arange(positions)[None])
    for table, reference in zip(rotary_tables(head_dim, positions, theta, scaling), expected, strict=True):
        error = np.abs(table - reference[0, :, : head_dim // 2].numpy())
        # A frequency off by one ulp (powf of another library) moves the angle at position p by p · 2^-24.
        assert (error <= 2.0**-23 + np.arange(positions)[:, None] * 2.0**-23).all()
        assert (error <= 2.0**-23).mean() > 0.95
