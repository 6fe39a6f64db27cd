"""The tensors of a GGUF file as the weights of a checkpoint: names, codecs by type, and rows put back."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgebit.model.gguf.container import GgufFile, GgufTensor
from edgebit.model.gguf.group_trits import group_tensor
from edgebit.model.gguf.tensor_types import GROUP_TYPES, TABLE_TYPES, TERNARY_TYPES
from edgebit.model.gguf.trits import FloatTrits, HeadPermutedRows, ternary_tensor
from edgebit.model.scaled_trits import FloatProducts
from edgebit.model.tensor_files import FLOAT_DTYPES, StoredTensor
from edgebit.model.ternary import TernaryTensor
from edgebit.model.weights import EMBEDDING, FINAL_NORM, LM_HEAD, Weights

_NAMES: Mapping[str, str] = {
    EMBEDDING: "token_embd.weight",
    FINAL_NORM: "output_norm.weight",
    LM_HEAD: "output.weight",
}
_LAYER_NAMES: Mapping[str, str] = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.attn_sub_norm.weight": "attn_sub_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.ffn_sub_norm.weight": "ffn_sub_norm.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.q_proj.norm.weight": "attn_q_norm_in.weight",
    "self_attn.k_proj.norm.weight": "attn_k_norm_in.weight",
    "self_attn.v_proj.norm.weight": "attn_v_norm_in.weight",
    "self_attn.o_proj.norm.weight": "attn_output_norm_in.weight",
    "mlp.gate_proj.norm.weight": "ffn_gate_norm_in.weight",
    "mlp.up_proj.norm.weight": "ffn_up_norm_in.weight",
    "mlp.down_proj.norm.weight": "ffn_down_norm_in.weight",
}
_NAMES_OF = {theirs: ours for ours, theirs in _NAMES.items()}
_LAYER_NAMES_OF = {theirs: ours for ours, theirs in _LAYER_NAMES.items()}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_ROTATED = {"self_attn.q_proj", "self_attn.k_proj"}


class GgufWeights(Weights):
    """``permuted_heads``: the features of a head of the query and key projections, if the file has their rows
    in the order of architecture "llama" (see `HeadPermutedRows`); None: in the order of transformers.
    ``takes_masters``: floats with more than three values are masters of ternary weights, not another model.
    ``float_activations``: floats are products of scales and trits, whose scales may be many.
    """

    described_by = "the file's metadata"
    table_dtypes = TABLE_TYPES
    rotary_divisors = "rope_freqs.weight"

    def __init__(
        self,
        file: GgufFile,
        kind: str,
        permuted_heads: int | None,
        takes_masters: bool,
        float_activations: bool,
        i2s_block: int,
    ) -> None:
        named: dict[str, StoredTensor] = {our_name(name): tensor for name, tensor in file.tensors.items()}
        super().__init__(file.path, kind, named)
        self._permuted_heads = permuted_heads
        self._takes_masters = takes_masters
        self._float_activations = float_activations
        self._i2s_block = i2s_block

    def projection(self, name: str, shape: tuple[int, int]) -> TernaryTensor:
        weight = self.find(f"{name}.weight")
        self.expect(weight, (*TERNARY_TYPES, *GROUP_TYPES, *FLOAT_DTYPES), shape)
        matrix = self._matrix(weight)
        if self._permuted_heads is not None and name.split(".", 3)[-1] in _ROTATED:
            return HeadPermutedRows(matrix, self._permuted_heads)
        return matrix

    def _matrix(self, weight: StoredTensor) -> TernaryTensor:
        if isinstance(weight, GgufTensor) and weight.dtype in GROUP_TYPES:
            return group_tensor(weight)
        if isinstance(weight, GgufTensor) and weight.dtype in TERNARY_TYPES:
            return ternary_tensor(weight, self._i2s_block)
        return FloatProducts(weight) if self._float_activations else FloatTrits(weight, self._takes_masters)

    def label(self, name: str) -> str:
        found = _LAYER.fullmatch(name)
        if found is not None and found[2] in _LAYER_NAMES:
            return f"blk.{found[1]}.{_LAYER_NAMES[found[2]]}"
        return _NAMES.get(name, name)

    def scale_advice(self) -> str:
        return "the file was converted with the reciprocal of the scale; convert it anew"


def our_name(name: str) -> str:
    """transformers' name of a tensor; one that no model has keeps its own."""
    found = _BLOCK.fullmatch(name)
    if found is not None and found[2] in _LAYER_NAMES_OF:
        return f"model.layers.{found[1]}.{_LAYER_NAMES_OF[found[2]]}"
    return _NAMES_OF.get(name, name)
