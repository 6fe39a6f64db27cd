"""Llama layers with ternary projections: Falcon3-*-1.58bit, Falcon-E, HF1BitLLM's Llama3-8B-1.58 (SPEC 4).

Nothing but the linear layers differs from a Llama: no sub-norms, SiLU, an lm_head of its own. Packed files
store the reciprocal of the multiplier (linear_class "bitlinear").
"""

from __future__ import annotations

from edgebit.model.families.family import Family

LLAMA = Family(
    name="llama",
    architectures=("LlamaForCausalLM",),
    default_activation="silu",
    default_max_positions=2048,
    default_tied=False,
)
