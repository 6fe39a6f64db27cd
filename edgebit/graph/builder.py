"""A checkpoint as an ONNX graph: opset 23, IR 10, domain ai.edgebit 1; no weight is read while it is built.

Inputs: input_ids, position_ids i64 [batch_size, sequence_length], attention_mask i64 [batch_size, past +
sequence], past_key_values.N.key/value f32 [batch_size, kv_heads, past_sequence_length, head_dim]. Outputs:
logits f32 [batch_size, sequence_length, vocab_size], present.N.key/value. Names and dimensions as in
onnxruntime-genai.

Once, before the layers (nodes in this order; a node's output is called like the node):

    model.embed_tokens           Gather(model.embed_tokens.weight bf16 [V, H], input_ids), axis 0
    model.embed_tokens.f32       Cast to float32                                          → x
    mask.* and mask              CumSum, Sub, Unsqueeze ×2, LessOrEqual, Cast, Unsqueeze, And, Unsqueeze

Per layer L = model.layers.N (E = domain ai.edgebit; weights u8 [rows, columns/4], scales f32 [1]):

    RMSNormalization          L.input_layernorm         x, weight; axis −1, epsilon
    E QuantizeActivation      L.self_attn.quantize      outputs L.self_attn.quantize.codes and .scale
    E TernaryMatMulInteger    L.self_attn.q_proj.matmul codes, weight
    E DequantizeAccumulator   L.self_attn.q_proj        q_proj.matmul, scale, weight_scale
                              … the two for k_proj, then for v_proj
    RotaryEmbedding           L.self_attn.q_rotary      q_proj, cos_cache, sin_cache, position_ids; num_heads
    RotaryEmbedding           L.self_attn.k_rotary      the same of k_proj
    Attention                 L.self_attn.attention     q_rotary, k_rotary, v_proj, mask, past key, value;
                                                        q_num_heads, kv_num_heads, scale; also outputs
                                                        present.N.key, present.N.value
    RMSNormalization          L.self_attn.attn_sub_norm bitnet only
    E BitLinear               L.self_attn.o_proj        x, weight, weight_scale
    Add                       L.self_attn.residual      x, o_proj → x
    RMSNormalization          L.post_attention_layernorm
    E QuantizeActivation      L.mlp.quantize
    E TernaryMatMulInteger    L.mlp.gate_proj.matmul
    E DequantizeAccumulator   L.mlp.gate_proj
                              … the two for up_proj
    Relu | Sigmoid            L.mlp.relu | L.mlp.sigmoid  gate_proj (hidden_act relu2 | silu)
    Mul                       L.mlp.activation          relu, relu | gate_proj, sigmoid
    Mul                       L.mlp.gated               activation, up_proj
    RMSNormalization          L.mlp.ffn_sub_norm        bitnet only
    E BitLinear               L.mlp.down_proj           x, weight, weight_scale
    Add                       L.mlp.residual            x, down_proj → x

Once, after the layers:

    model.norm                   RMSNormalization
    lm_head.f32                  Cast(model.embed_tokens.weight if tied, else lm_head.weight) to float32
    lm_head.transpose            Transpose, perm [1, 0]
    lm_head                      MatMul(model.norm, lm_head.transpose) → logits

A model that makes embeddings (``Checkpoint.pooling``) sees whole texts: it has no past and present, its
Attention nodes have four inputs and one output, attention_mask is [batch_size, sequence_length] (0 where a
text is padded, left or right), and in the place of the lm_head stand

    E PoolLast | PoolMean     pooling                   model.norm, attention_mask
    E Normalize               embedding                 → embedding f32 [batch_size, hidden_size]

What a family has besides (`edgebit.model.families`):

    Mul                          model.embed_tokens.scaled  x, model.embed_tokens.factor
    … mask.window_W              Sub, Greater, And, Unsqueeze: mask for layers with a window of W tokens
    RMSNormalization             L.self_attn.q_norm, k_norm  between two Reshape (.heads, .joined)
    RMSNormalization             L.self_attn.q_proj.norm     of every projection, which is a BitLinear then
    Add                          L.self_attn.q_proj          q_proj.product, bias
    RMSNormalization             L.post_attention_layernorm  o_proj or down_proj, before the residual
    Gelu                         L.mlp.activation            gate_proj; approximate "tanh"
    E TernaryMatMul              L.self_attn.q_proj          x, weight, weight_scale [1], [N, 1], [N, groups];
                                                             all projections, where activations stay floats

Query, key and value stay [batch_size, sequence_length, heads · head_dim]: Attention and RotaryEmbedding
take the heads as attributes, so no Reshape or Transpose stands between the projections and them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnx_ir as ir

from edgebit.errors import GraphError
from edgebit.graph.assembler import BATCH, FLOAT, INT64, PAST, SEQUENCE, TOTAL, Assembler, Dims, Output
from edgebit.graph.masks import causal_masks
from edgebit.graph.model import GraphMetadata, OnnxModel
from edgebit.graph.operators import DOMAIN
from edgebit.graph.rotary import rotary_tables
from edgebit.graph.tensors import Array, StreamedTensor, row_blocks, small_tensor
from edgebit.model import EMBEDDING, LM_HEAD, Checkpoint, TernaryTensor

POOLINGS = {"last": "PoolLast", "mean": "PoolMean"}


def build(checkpoint: Checkpoint) -> OnnxModel:
    """The graph of ``checkpoint``; weights are read when it is saved or compiled, and may raise then."""
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    metadata = GraphMetadata(
        name=checkpoint.name,
        family=config.family.name,
        context_length=config.max_position_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id if checkpoint.pooling else None,
        stop_token_ids=tokenizer.stop_token_ids,
        chat_template=None if checkpoint.pooling else tokenizer.chat_template,
        overrides=checkpoint.overrides.describe(),
    )
    return OnnxModel(_Decoder(checkpoint).build(metadata), metadata, tokenizer.files)


class _Decoder:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.graph = Assembler()
        self.input_ids = self.graph.input("input_ids", INT64, [BATCH, SEQUENCE])
        self.total = SEQUENCE if checkpoint.pooling else TOTAL  # tokens that attention sees
        self.attention_mask = self.graph.input("attention_mask", INT64, [BATCH, self.total])
        self.position_ids = self.graph.input("position_ids", INT64, [BATCH, SEQUENCE])
        self.presents: list[ir.Value] = []

    def build(self, metadata: GraphMetadata) -> ir.Model:
        family = self.config.family
        x = self.embed(self.input_ids)
        windows = self.config.layer_windows
        self.masks = causal_masks(self.graph, self.attention_mask, self.position_ids, self.total, windows)
        for layer in range(self.config.num_hidden_layers):
            name = f"model.layers.{layer}"
            y = self.optional_norm(self.attention(x, name, layer), name, family.attention_post_norm)
            x = self.add(x, y, f"{name}.self_attn.residual")
            y = self.optional_norm(self.mlp(x, name), name, family.mlp_post_norm)
            x = self.add(x, y, f"{name}.mlp.residual")
        states = self.norm(x, "model.norm")
        self.graph.output(self.embedding(states) if self.checkpoint.pooling else self.logits(states))
        for present in self.presents:
            self.graph.output(present)
        return self.graph.model(metadata.to_properties())

    def attention(self, x: ir.Value, name: str, layer: int) -> ir.Value:
        config, attn = self.config, f"{name}.self_attn"
        h = self.norm(x, f"{name}.{config.family.attention_norm}")
        q, k, v = self.projections(h, attn, ("q_proj", "k_proj", "v_proj"))
        q = self.head_norm(q, name, config.family.query_norm, config.num_attention_heads)
        k = self.head_norm(k, name, config.family.key_norm, config.num_key_value_heads)
        q = self.rotary(q, f"{attn}.q_rotary", config.num_attention_heads, layer)
        k = self.rotary(k, f"{attn}.k_rotary", config.num_key_value_heads, layer)
        y = self.attend(q, k, v, f"{attn}.attention", layer)
        return self.projection(
            self.optional_norm(y, name, config.family.attention_sub_norm), f"{attn}.o_proj"
        )

    def mlp(self, x: ir.Value, name: str) -> ir.Value:
        family, mlp = self.config.family, f"{name}.mlp"
        gate, up = self.projections(self.norm(x, f"{name}.{family.mlp_norm}"), mlp, ("gate_proj", "up_proj"))
        y = self.multiply(self.activation(gate, mlp), up, f"{mlp}.gated")
        return self.projection(self.optional_norm(y, name, family.mlp_sub_norm), f"{mlp}.down_proj")

    def activation(self, gate: ir.Value, name: str) -> ir.Value:
        if self.config.hidden_act == "relu2":
            relu = self.elementwise("Relu", [gate], f"{name}.relu")
            return self.multiply(relu, relu, f"{name}.activation")
        if self.config.hidden_act == "gelu_tanh":
            return self.elementwise("Gelu", [gate], f"{name}.activation", approximate="tanh")
        sigmoid = self.elementwise("Sigmoid", [gate], f"{name}.sigmoid")
        return self.multiply(gate, sigmoid, f"{name}.activation")

    def embed(self, ids: ir.Value) -> ir.Value:
        table = self.matrix(EMBEDDING)
        shape: Dims = [BATCH, SEQUENCE, self.config.hidden_size]
        rows = self.graph.node(
            "Gather", [table, ids], "model.embed_tokens", ir.DataType.BFLOAT16, shape, axis=0
        )
        x = self.graph.node("Cast", [rows], "model.embed_tokens.f32", FLOAT, shape, to=FLOAT)
        if not self.config.family.scales_embedding:
            return x
        root = np.array(self.config.hidden_size**0.5, np.float32)
        factor = self.graph.initializer(ir.Tensor(root, name="model.embed_tokens.factor"))
        return self.multiply(x, factor, "model.embed_tokens.scaled")

    def norm(self, x: ir.Value, name: str, eps: float | None = None) -> ir.Value:
        weight = self.vector(f"{name}.weight", int(_dims(x)[-1]), partial(self.checkpoint.norm_weight, name))
        return self.elementwise(
            "RMSNormalization", [x, weight], name, axis=-1, epsilon=eps or self.config.rms_norm_eps
        )

    def optional_norm(self, x: ir.Value, layer: str, norm: str | None) -> ir.Value:
        """A norm that the family may not have."""
        return x if norm is None else self.norm(x, f"{layer}.{norm}")

    def head_norm(self, x: ir.Value, layer: str, norm: str | None, heads: int) -> ir.Value:
        """A norm over the features of each head, which the family may not have."""
        if norm is None:
            return x
        name, head_dim = f"{layer}.{norm}", self.config.head_dim
        split = self.graph.integers(f"split_{heads}_heads", [0, 0, heads, head_dim])
        joined = self.graph.integers(f"join_{heads}_heads", [0, 0, heads * head_dim])
        apart: Dims = [BATCH, SEQUENCE, heads, head_dim]
        h = self.graph.node("Reshape", [x, split], f"{name}.heads", FLOAT, apart)
        return self.graph.node("Reshape", [self.norm(h, name), joined], f"{name}.joined", FLOAT, _dims(x))

    def projections(self, h: ir.Value, module: str, names: tuple[str, ...]) -> list[ir.Value]:
        """Ternary linears of one input, which is quantised once, unless each has a norm of its own or floats
        stay floats.
        """
        if self.config.projection_norm is not None or self.config.activation_quantization == "none":
            return [self.projection(h, f"{module}.{name}") for name in names]
        quantized = self.quantize(h, f"{module}.quantize")
        return [self.project(quantized, f"{module}.{name}") for name in names]

    def projection(self, x: ir.Value, name: str) -> ir.Value:
        """A ternary linear with everything before and behind it."""
        own = self.config.projection_norm
        if own is not None:
            x = self.norm(x, f"{name}.{own.name}", own.eps)
        linear, weight, weight_scale, shape = self.ternary(name)
        floats = self.config.activation_quantization == "none"
        operator = "TernaryMatMul" if floats else "BitLinear"
        y = self.graph.edgebit(operator, [x, weight, weight_scale], linear, FLOAT, shape)
        return self.biased(y, name)

    def quantize(self, x: ir.Value, name: str) -> tuple[ir.Value, ir.Value]:
        outputs: list[Output] = [
            (f"{name}.codes", ir.DataType.INT8, _dims(x)),
            (f"{name}.scale", FLOAT, [BATCH, SEQUENCE, 1]),
        ]
        codes, scale = self.graph.nodes("QuantizeActivation", [x], name, outputs, domain=DOMAIN)
        return codes, scale

    def project(self, quantized: tuple[ir.Value, ir.Value], name: str) -> ir.Value:
        """A ternary linear of an input that is quantised once for several of them."""
        codes, scale = quantized
        linear, weight, weight_scale, shape = self.ternary(name)
        matmul = f"{name}.matmul"
        acc = self.graph.edgebit("TernaryMatMulInteger", [codes, weight], matmul, ir.DataType.INT32, shape)
        y = self.graph.edgebit("DequantizeAccumulator", [acc, scale, weight_scale], linear, FLOAT, shape)
        return self.biased(y, name)

    def biased(self, y: ir.Value, name: str) -> ir.Value:
        if name.split(".", 3)[-1] not in self.config.biased:
            return y
        bias = self.vector(f"{name}.bias", int(_dims(y)[-1]), partial(self.checkpoint.bias, name))
        return self.add(y, bias, name)

    def rotary(self, x: ir.Value, name: str, heads: int, layer: int) -> ir.Value:
        cos, sin = self.rotary_caches(self.config.layer_windows[layer] > 0)
        inputs = [x, cos, sin, self.position_ids]
        return self.elementwise("RotaryEmbedding", inputs, name, num_heads=heads)

    def attend(self, q: ir.Value, k: ir.Value, v: ir.Value, name: str, layer: int) -> ir.Value:
        """Attention over the tokens of a text, or over a cache too."""
        config = self.config
        heads: dict[str, Any] = {
            "q_num_heads": config.num_attention_heads,
            "kv_num_heads": config.num_key_value_heads,
            "scale": config.attention_scale,
        }
        mask = self.masks[config.layer_windows[layer]]
        if self.checkpoint.pooling:
            return self.elementwise("Attention", [q, k, v, mask], name, **heads)
        cache: Dims = [BATCH, config.num_key_value_heads, PAST, config.head_dim]
        grown: Dims = [BATCH, config.num_key_value_heads, TOTAL, config.head_dim]
        past = [
            self.graph.input(f"past_key_values.{layer}.{part}", FLOAT, cache) for part in ("key", "value")
        ]
        outputs: list[Output] = [
            (name, FLOAT, _dims(q)),
            (f"present.{layer}.key", FLOAT, grown),
            (f"present.{layer}.value", FLOAT, grown),
        ]
        y, *present = self.graph.nodes(
            "Attention",
            [q, k, v, mask, *past],
            name,
            outputs,
            **heads,
        )
        self.presents += present
        return y

    def logits(self, x: ir.Value) -> ir.Value:
        vocab, hidden = self.config.vocab_size, self.config.hidden_size
        table = self.matrix(EMBEDDING if self.config.tie_word_embeddings else LM_HEAD)
        wide = self.graph.node("Cast", [table], "lm_head.f32", FLOAT, [vocab, hidden], to=FLOAT)
        columns = self.graph.node(
            "Transpose", [wide], "lm_head.transpose", FLOAT, [hidden, vocab], perm=[1, 0]
        )
        shape: Dims = [BATCH, SEQUENCE, vocab]
        return self.graph.nodes("MatMul", [x, columns], "lm_head", [("logits", FLOAT, shape)])[0]

    def embedding(self, states: ir.Value) -> ir.Value:
        shape: Dims = [BATCH, self.config.hidden_size]
        pool = POOLINGS[str(self.checkpoint.pooling)]
        pooled = self.graph.edgebit(pool, [states, self.attention_mask], "pooling", FLOAT, shape)
        return self.graph.edgebit("Normalize", [pooled], "embedding", FLOAT, shape)

    def add(self, x: ir.Value, y: ir.Value, name: str) -> ir.Value:
        return self.elementwise("Add", [x, y], name)

    def multiply(self, x: ir.Value, y: ir.Value, name: str) -> ir.Value:
        return self.elementwise("Mul", [x, y], name)

    def elementwise(
        self, op_type: str, inputs: list[ir.Value], name: str, **attributes: int | float | str
    ) -> ir.Value:
        """A float32 node with the shape of its first input."""
        return self.graph.node(op_type, inputs, name, FLOAT, _dims(inputs[0]), **attributes)

    def vector(self, name: str, size: int, read: Callable[[], Array]) -> ir.Value:
        """A norm weight or a bias as float32 [size]."""
        return self.graph.initializer(small_tensor(name, (size,), read))

    def matrix(self, name: str) -> ir.Value:
        """The embedding or the head, bfloat16 [vocab_size, hidden_size]."""
        shape = (self.config.vocab_size, self.config.hidden_size)
        whole = partial(self.checkpoint.bfloat16_rows, name)
        blocks = partial(row_blocks, whole)
        return self.graph.initializer(StreamedTensor(name, ir.DataType.BFLOAT16, shape, blocks, whole))

    def ternary(self, name: str) -> tuple[str, ir.Value, ir.Value, list[int | str]]:
        """What a projection's node is called, weight, weight scale, and the shape of its output."""
        trits = self.checkpoint.projection(name)
        rows, columns = trits.shape
        weight = StreamedTensor(
            f"{name}.weight", ir.DataType.UINT8, (rows, columns // 4), trits.blocks, trits.packed
        )
        scale = small_tensor(f"{name}.weight_scale", self.scales_shape(trits), lambda: trits.scales)
        linear = f"{name}.product" if name.split(".", 3)[-1] in self.config.biased else name
        return (
            linear,
            self.graph.initializer(weight),
            self.graph.initializer(scale),
            [BATCH, SEQUENCE, rows],
        )

    def scales_shape(self, trits: TernaryTensor) -> tuple[int, ...]:
        """As the operator of the model's projections takes them: [N] where each row of an integer accumulator
        has its own.
        """
        shape = trits.scales_shape
        if self.config.activation_quantization == "none" or shape == (1,):
            return shape
        if shape[1] > 1:
            raise GraphError(
                f"{self.checkpoint.path}: tensor {trits.name} has scales of groups of "
                f"{trits.shape[1] // shape[1]} columns; int8 activations with scales of groups are not "
                "supported, --activation-quantization none is"
            )
        return shape[:1]

    def rotary_caches(self, local: bool) -> tuple[ir.Value, ir.Value]:
        """cos and sin; ``local``: of layers with a window."""
        config = self.config
        shape = (config.max_position_embeddings, config.head_dim // 2)
        sizes = config.head_dim, config.max_position_embeddings
        divisors = self.checkpoint.rotary_divisors()
        tables = cache(  # every layer asks for them
            partial(rotary_tables, *sizes, config.local_rope_theta)
            if local
            else partial(rotary_tables, *sizes, config.rope_theta, config.rope_scaling, divisors)
        )
        suffix = "_local" if local else ""
        cos = self.graph.initializer(small_tensor(f"cos_cache{suffix}", shape, lambda: tables()[0]))
        sin = self.graph.initializer(small_tensor(f"sin_cache{suffix}", shape, lambda: tables()[1]))
        return cos, sin


def _dims(value: ir.Value) -> list[int | str]:
    """The shape a value was assembled with."""
    assert value.shape is not None
    return [d if isinstance(d, int) else str(d.value) for d in value.shape]
