"""1bitLLM/bitnet_b1_58-large, -xl and -3B: the reproduction of arXiv 2402.17764 with its weights.

A Llama with multi-head attention and SiLU whose projections are made ternary by absmean when it runs; norms
stand where BitNet 2B-4T has them, under names of their own. The files are float masters, and config.json
calls the model type "llama" and has no quantization_config: read as a Llama it would lose both norms and all
of the quantisation.
"""

from __future__ import annotations

from edgebit.model.families.family import Family

ONEBITLLM = Family(
    name="1bitllm",
    architectures=("BitnetForCausalLM",),
    is_ternary=True,
    default_activation="silu",
    default_max_positions=2048,
    default_tied=False,
    attention_sub_norm="self_attn.inner_attn_ln",
    mlp_sub_norm="mlp.ffn_layernorm",
)
