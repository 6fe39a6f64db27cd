"""microsoft/bitnet-embedding-0.6b and -270m: Qwen3 and Gemma 3 layers that embed texts (arXiv 2606.25674).

Every projection normalises its input with a weight of its own before it quantises it, so the inputs of query,
key and value differ. The files are bfloat16 masters of a model without a head: names without "model.", and
config.json says nothing of quantisation. How states are pooled stands beside the model, where it does.
"""

from __future__ import annotations

from dataclasses import replace

from edgebit.model.families.gemma3 import GEMMA3
from edgebit.model.families.qwen3 import QWEN3

BITNET_EMBEDDING_QWEN3 = replace(
    QWEN3,
    name="bitnet-embedding-qwen3",
    architectures=("Qwen3Model",),
    model_types=("qwen3",),
    task="embed",
    is_ternary=True,
    tensor_prefix="",
    projection_norm="norm",
)

BITNET_EMBEDDING_GEMMA3 = replace(
    GEMMA3,
    name="bitnet-embedding-gemma3",
    architectures=("Gemma3TextModel",),
    model_types=("gemma3_text",),
    task="embed",
    is_ternary=True,
    tensor_prefix="",
    projection_norm="norm",
)
