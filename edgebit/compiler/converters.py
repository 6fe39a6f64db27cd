"""The operators of a language model as those of `operators.py`: domain ``ai.edgebit``, and of opset 23 what
TVM's converters lack or do in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from edgebit.compiler.operators import call
from edgebit.errors import CompileError

EDGEBIT_DOMAIN = "ai.edgebit"
WINDOW = "edgebit_window"  # what the mask of an Attention node says
NODE = "tvm_custom"  # the attribute under which TVM's converters look for the node's name

Inputs = list[Any]
Attributes = dict[str, Any]
Converter = Callable[[relax.BlockBuilder, Inputs, Attributes], Any]
Converters = Mapping[tuple[str, str], Converter]


def identifier(name: str | None) -> str:
    """An ONNX name as a Relax identifier: dots and slashes become underscores."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in str(name))


def _quantize_activation(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("quantize_activation", [inputs[0]])


def _ternary_matmul(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("ternary_matmul", inputs[:2])


def _dequantize(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("dequantize", inputs[:3])


def _bit_linear(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    x, weight, weight_scale = inputs[:3]
    name = attributes[NODE]["name"]
    quantized = builder.emit(call("quantize_activation", [x]), name_hint=identifier(f"{name}.quantize"))
    codes, scale = builder.emit(quantized[0]), builder.emit(quantized[1])
    accumulator = builder.emit(call("ternary_matmul", [codes, weight]))
    return call("dequantize", [accumulator, scale, weight_scale])


def _ternary_matmul_of_floats(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("float_linear", inputs[:3])


def _gather(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    """Rows of a table. TVM's converter would wrap negative indices; the runtime refuses such tokens."""
    if attributes.get("axis", 0) != 0 or len(inputs[0].ty.shape.values) != 2:
        raise CompileError("Gather other than rows of a matrix is not supported")
    return relax.op.take(inputs[0], inputs[1], axis=0)


def _rms_normalization(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    if attributes.get("axis", -1) not in (-1, len(inputs[0].ty.shape.values) - 1):
        raise CompileError(
            f"RMSNormalization over axis {attributes['axis']}: only the last axis is supported"
        )
    x, weight = inputs[:2]
    if list(weight.ty.shape.values) != [x.ty.shape.values[-1]]:
        raise CompileError(
            f"RMSNormalization of {x.ty.shape.values[-1]} features has a weight of {weight.ty.shape.values}"
        )
    return call("rms_norm", [x, weight], eps=_positive(attributes, "epsilon", 1e-5))


def _reshape(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    """Into a constant shape of ONNX, where 0 keeps a dimension and −1 is what is left."""
    x, shape = inputs
    if not isinstance(shape, tvm.ir.GenericConst):
        raise CompileError("Reshape into a shape that is computed is not supported")
    wanted = [int(size) for size in shape.value.numpy().reshape(-1)]
    return relax.op.reshape(x, [x.ty.shape.values[i] if size == 0 else size for i, size in enumerate(wanted)])


def _rotary_embedding(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    if len(inputs) < 4 or inputs[3] is None:
        raise CompileError("RotaryEmbedding without position_ids is not supported")
    if attributes.get("interleaved", 0):
        raise CompileError("RotaryEmbedding with interleaved=1 is not supported: export with halves (NeoX)")
    if attributes.get("rotary_embedding_dim", 0):
        raise CompileError("RotaryEmbedding with a partial rotary_embedding_dim is not supported")
    heads = int(attributes.get("num_heads", 0))
    if heads < 1 or int(inputs[0].ty.shape.values[-1]) % heads:
        raise CompileError(
            f"RotaryEmbedding with num_heads={heads} of {inputs[0].ty.shape.values[-1]} features"
        )
    return call("rotary_embedding", inputs[:4], num_heads=heads)


def _attention(_: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
    query, key, value, mask, past_key, past_value = [*inputs, None, None, None][:6]
    if mask is None or (past_key is None) != (past_value is None):
        raise CompileError(
            "Attention needs query, key, value, attn_mask, and past_key with past_value or none"
        )
    for unsupported in ("softcap", "is_causal", "qk_matmul_output_mode"):
        if attributes.get(unsupported, 0):
            raise CompileError(f"Attention with {unsupported}={attributes[unsupported]} is not supported")
    query_heads = int(attributes["q_num_heads"])
    kv_heads = int(attributes["kv_num_heads"])
    head_dim = int(query.ty.shape.values[-1]) // query_heads
    if past_key is None:
        past_key = past_value = relax.const(np.empty((1, kv_heads, 0, head_dim), np.float32))
    return call(
        "attention",
        [query, key, value, mask, past_key, past_value],
        num_heads=query_heads,
        num_kv_heads=kv_heads,
        scale=_positive(attributes, "scale", head_dim**-0.5),
        window=int(attributes.get(WINDOW, 0)),
    )


def _positive(attributes: Attributes, name: str, default: float) -> float:
    value = float(attributes.get(name, default))
    if not 0 < value < float("inf"):
        raise CompileError(f"{name} is {value}, expected a positive number")
    return value


def _pool_last(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("pool_last", inputs[:2])


def _pool_mean(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("pool_mean", inputs[:2])


def _normalize(_: relax.BlockBuilder, inputs: Inputs, __: Attributes) -> Any:
    return call("normalize", inputs[:1])


CONVERTERS: Converters = {
    (EDGEBIT_DOMAIN, "QuantizeActivation"): _quantize_activation,
    (EDGEBIT_DOMAIN, "TernaryMatMulInteger"): _ternary_matmul,
    (EDGEBIT_DOMAIN, "DequantizeAccumulator"): _dequantize,
    (EDGEBIT_DOMAIN, "BitLinear"): _bit_linear,
    (EDGEBIT_DOMAIN, "PoolLast"): _pool_last,
    (EDGEBIT_DOMAIN, "PoolMean"): _pool_mean,
    (EDGEBIT_DOMAIN, "Normalize"): _normalize,
    (EDGEBIT_DOMAIN, "TernaryMatMul"): _ternary_matmul_of_floats,
    ("", "Gather"): _gather,
    ("", "Reshape"): _reshape,
    ("", "RMSNormalization"): _rms_normalization,
    ("", "RotaryEmbedding"): _rotary_embedding,
    ("", "Attention"): _attention,
}
