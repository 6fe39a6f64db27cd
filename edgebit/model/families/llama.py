"""Llama layers with ternary projections: Falcon3-*-1.58bit, Falcon-E, HF1BitLLM's Llama3-8B-1.58 (SPEC 4).

Nothing but the linear layers differs from a Llama: no sub-norms, SiLU, an lm_head of its own. Packed files
store the reciprocal of the multiplier (linear_class "bitlinear").

TriLM (SpectraSuite/TriLM_*_Unpacked, arXiv 2407.12327) has no quantization_config: its float16 weights are
products of scales and trits, activations stay floats. A scale is of the rows of one shard of tensor parallel
training.
"""

from __future__ import annotations

from edgebit.model.families.family import Family

LLAMA = Family(
    name="llama",
    architectures=("LlamaForCausalLM",),
    default_activation="silu",
    default_max_positions=2048,
    default_tied=False,
    float_products=True,
)
