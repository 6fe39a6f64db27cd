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

import numpy as np
import onnx_ir as ir

from edgebit.graph.assembler import BATCH, FLOAT, INT64, SEQUENCE, TOTAL, Assembler, Dims
from edgebit.graph.attention import Attention
from edgebit.graph.elements import Elements
from edgebit.graph.model import GraphMetadata, OnnxModel
from edgebit.graph.projections import Projections
from edgebit.model import EMBEDDING, LM_HEAD, Checkpoint

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
        self.elements = Elements(self.graph, checkpoint)
        self.projections = Projections(self.elements)

    def build(self, metadata: GraphMetadata) -> ir.Model:
        family, elements = self.config.family, self.elements
        total = SEQUENCE if self.checkpoint.pooling else TOTAL  # tokens that attention sees
        input_ids = self.graph.input("input_ids", INT64, [BATCH, SEQUENCE])
        attention_mask = self.graph.input("attention_mask", INT64, [BATCH, total])
        position_ids = self.graph.input("position_ids", INT64, [BATCH, SEQUENCE])
        x = self.embed(input_ids)
        attention = Attention(elements, attention_mask, position_ids, total)
        for layer in range(self.config.num_hidden_layers):
            name = f"model.layers.{layer}"
            y = self.attention(attention, x, name, layer)
            y = elements.optional_norm(y, name, family.attention_post_norm)
            x = elements.add(x, y, f"{name}.self_attn.residual")
            y = elements.optional_norm(self.mlp(x, name), name, family.mlp_post_norm)
            x = elements.add(x, y, f"{name}.mlp.residual")
        states = elements.norm(x, "model.norm")
        pools = self.checkpoint.pooling is not None
        self.graph.output(self.embedding(states, attention_mask) if pools else self.logits(states))
        for present in attention.presents:
            self.graph.output(present)
        return self.graph.model(metadata.to_properties())

    def attention(self, attention: Attention, x: ir.Value, name: str, layer: int) -> ir.Value:
        config, family, elements, attn = self.config, self.config.family, self.elements, f"{name}.self_attn"
        h = elements.norm(x, f"{name}.{family.attention_norm}")
        q, k, v = self.projections.several(h, attn, ("q_proj", "k_proj", "v_proj"))
        q = elements.head_norm(q, name, family.query_norm, config.num_attention_heads)
        k = elements.head_norm(k, name, family.key_norm, config.num_key_value_heads)
        q = attention.rotary(q, f"{attn}.q_rotary", config.num_attention_heads, layer)
        k = attention.rotary(k, f"{attn}.k_rotary", config.num_key_value_heads, layer)
        y = attention.attend(q, k, v, f"{attn}.attention", layer)
        return self.projections.one(
            elements.optional_norm(y, name, family.attention_sub_norm), f"{attn}.o_proj"
        )

    def mlp(self, x: ir.Value, name: str) -> ir.Value:
        family, elements, mlp = self.config.family, self.elements, f"{name}.mlp"
        h = elements.norm(x, f"{name}.{family.mlp_norm}")
        gate, up = self.projections.several(h, mlp, ("gate_proj", "up_proj"))
        y = elements.multiply(self.activation(gate, mlp), up, f"{mlp}.gated")
        return self.projections.one(elements.optional_norm(y, name, family.mlp_sub_norm), f"{mlp}.down_proj")

    def activation(self, gate: ir.Value, name: str) -> ir.Value:
        elements = self.elements
        if self.config.hidden_act == "relu2":
            relu = elements.elementwise("Relu", [gate], f"{name}.relu")
            return elements.multiply(relu, relu, f"{name}.activation")
        if self.config.hidden_act == "gelu_tanh":
            return elements.elementwise("Gelu", [gate], f"{name}.activation", approximate="tanh")
        sigmoid = elements.elementwise("Sigmoid", [gate], f"{name}.sigmoid")
        return elements.multiply(gate, sigmoid, f"{name}.activation")

    def embed(self, ids: ir.Value) -> ir.Value:
        table = self.elements.matrix(EMBEDDING)
        shape: Dims = [BATCH, SEQUENCE, self.config.hidden_size]
        rows = self.graph.node(
            "Gather", [table, ids], "model.embed_tokens", ir.DataType.BFLOAT16, shape, axis=0
        )
        x = self.graph.node("Cast", [rows], "model.embed_tokens.f32", FLOAT, shape, to=FLOAT)
        if not self.config.family.scales_embedding:
            return x
        root = np.array(self.config.hidden_size**0.5, np.float32)
        factor = self.graph.initializer(ir.Tensor(root, name="model.embed_tokens.factor"))
        return self.elements.multiply(x, factor, "model.embed_tokens.scaled")

    def logits(self, x: ir.Value) -> ir.Value:
        vocab, hidden = self.config.vocab_size, self.config.hidden_size
        table = self.elements.matrix(EMBEDDING if self.config.tie_word_embeddings else LM_HEAD)
        wide = self.graph.node("Cast", [table], "lm_head.f32", FLOAT, [vocab, hidden], to=FLOAT)
        columns = self.graph.node(
            "Transpose", [wide], "lm_head.transpose", FLOAT, [hidden, vocab], perm=[1, 0]
        )
        shape: Dims = [BATCH, SEQUENCE, vocab]
        return self.graph.nodes("MatMul", [x, columns], "lm_head", [("logits", FLOAT, shape)])[0]

    def embedding(self, states: ir.Value, attention_mask: ir.Value) -> ir.Value:
        shape: Dims = [BATCH, self.config.hidden_size]
        pool = POOLINGS[str(self.checkpoint.pooling)]
        pooled = self.graph.edgebit(pool, [states, attention_mask], "pooling", FLOAT, shape)
        return self.graph.edgebit("Normalize", [pooled], "embedding", FLOAT, shape)
