"""Gemma 3 layers with ternary projections (arXiv 2503.19786, text only).

Norms stand before and behind both halves of a layer and multiply by 1 + weight; heads of queries and keys
are normalised; embeddings are multiplied by sqrt(hidden_size); the gate is a GELU; five of six layers see a
window of tokens and rotate with a theta of their own.
"""

from __future__ import annotations

from edgebit.model.families.family import Family

GEMMA3 = Family(
    name="gemma3",
    architectures=("Gemma3ForCausalLM",),
    model_types=("gemma3_text",),
    default_activation="gelu_tanh",
    default_max_positions=131072,
    default_tied=True,
    attention_post_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
    query_norm="self_attn.q_norm",
    key_norm="self_attn.k_norm",
    norm_offset=1.0,
    scales_embedding=True,
    sliding_pattern=6,
    query_scalar=True,
    default_head_dim=256,
    default_rope_theta=1_000_000.0,
    default_local_rope_theta=10_000.0,
)
