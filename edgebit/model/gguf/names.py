"""What tensors are called: by transformers, as everywhere in edgebit, and in GGUF files.

Source: the tensor maps of llama.cpp, and of microsoft/BitNet's converters for norms of projections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgebit.model.weights import EMBEDDING, FINAL_NORM, LM_HEAD

_PROJECTIONS: Mapping[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS: Mapping[str, str] = {
    "input_layernorm": "attn_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
GEMMA3_NORMS: Mapping[str, str] = {
    **NORMS,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_MODEL: Mapping[str, str] = {
    EMBEDDING: "token_embd.weight",
    FINAL_NORM: "output_norm.weight",
    LM_HEAD: "output.weight",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")


class TensorNames:
    """``norms``: of a layer, by the names of transformers. A tensor that no model has keeps its name."""

    def __init__(self, norms: Mapping[str, str] = NORMS) -> None:
        layer = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in norms.items()}
        for ours, theirs in _PROJECTIONS.items():
            layer |= {
                f"{ours}.weight": f"{theirs}.weight",
                f"{ours}.bias": f"{theirs}.bias",
                f"{ours}.norm.weight": f"{theirs}_norm_in.weight",
            }
        self._theirs = layer
        self._ours = {theirs: ours for ours, theirs in layer.items()}

    def in_file(self, name: str) -> str:
        found = _LAYER.fullmatch(name)
        if found is not None and found[2] in self._theirs:
            return f"blk.{found[1]}.{self._theirs[found[2]]}"
        return _MODEL.get(name, name)

    def in_transformers(self, name: str) -> str:
        found = _BLOCK.fullmatch(name)
        if found is not None and found[2] in self._ours:
            return f"model.layers.{found[1]}.{self._ours[found[2]]}"
        return next((ours for ours, theirs in _MODEL.items() if theirs == name), name)
