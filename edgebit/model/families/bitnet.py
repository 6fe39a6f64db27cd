"""BitNet b1.58 2B-4T (microsoft/bitnet-b1.58-2B-4T, arXiv 2504.12285): SubLN and squared ReLU.

A norm stands before the output projection of attention and before the down projection, beside the two norms
of a Llama layer.
"""

from __future__ import annotations

from edgebit.model.families.family import Family

# Defaults are those of BitNetConfig (transformers 5.23): they hold where config.json is silent.
BITNET = Family(
    name="bitnet",
    architectures=("BitNetForCausalLM",),
    default_activation="relu2",
    default_max_positions=2048,
    default_tied=False,
    attention_sub_norm="self_attn.attn_sub_norm",
    mlp_sub_norm="mlp.ffn_sub_norm",
)
