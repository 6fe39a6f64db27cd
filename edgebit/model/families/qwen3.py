"""Qwen3 layers with ternary projections: every head of queries and keys has a norm before it is rotated."""

from __future__ import annotations

from edgebit.model.families.family import Family

QWEN3 = Family(
    name="qwen3",
    architectures=("Qwen3ForCausalLM",),
    default_activation="silu",
    default_max_positions=32768,
    default_tied=False,
    float_products=True,
    query_norm="self_attn.q_norm",
    key_norm="self_attn.k_norm",
    default_head_dim=128,
)
