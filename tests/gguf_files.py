"""GGUF files for tests, written with the gguf package, of the tiny checkpoints in tests/builders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from edgebit.model import (
    EMBEDDING,
    LM_HEAD,
    Checkpoint,
    TernaryTensor,
    open_checkpoint,
    unpack_codes,
)

Array = npt.NDArray[Any]
Kinds = gguf.GGMLQuantizationType
I2_S = 36  # a type of bitnet.cpp, which the gguf package does not know


@dataclass(frozen=True)
class Groups:
    """A type with a scale for each group of columns; ``fifths``: five trits a byte."""

    number: int
    group: int
    fifths: bool = False


Q2_0, Q2_0_OF_128, PQ2_0, PTQ1_0 = 1042, 1043, 1142, 1143  # keys; the second has the number of the first
GROUPS = {
    Q2_0: Groups(42, 64),
    Q2_0_OF_128: Groups(42, 128),
    PQ2_0: Groups(142, 128),
    PTQ1_0: Groups(143, 128, fifths=True),
}

NAMES: Mapping[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj.norm": "attn_q_norm_in",
    "self_attn.k_proj.norm": "attn_k_norm_in",
    "self_attn.v_proj.norm": "attn_v_norm_in",
    "self_attn.o_proj.norm": "attn_output_norm_in",
    "mlp.gate_proj.norm": "ffn_gate_norm_in",
    "mlp.up_proj.norm": "ffn_up_norm_in",
    "mlp.down_proj.norm": "ffn_down_norm_in",
}
GEMMA3_NAMES: Mapping[str, str] = NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


@dataclass
class Recipe:
    """How a checkpoint is written as GGUF: types by part, metadata to add, change or (None) leave out, more
    tensors of float32. ``norm_shift``: is added to the weights of norms. ``permute_biases``: with weights.
    """

    architecture: str = "bitnet-b1.58"
    projections: int = Kinds.TQ2_0
    table: Kinds = Kinds.BF16
    norms: Kinds = Kinds.F32
    masters: Mapping[str, Array] = field(default_factory=dict)  # written instead of trits, by name
    i2s_block: int = 128
    permute: bool = False
    permute_biases: bool = True
    norm_shift: float = 0.0
    names: Mapping[str, str] = field(default_factory=lambda: NAMES)
    metadata: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, Array] = field(default_factory=dict)


def write_gguf(folder: Path, path: Path, recipe: Recipe) -> Path:
    """Write the checkpoint in ``folder`` as GGUF, its vocabulary left out."""
    checkpoint = open_checkpoint(folder)
    writer = gguf.GGUFWriter(path, recipe.architecture)
    for key, value in (facts(checkpoint, recipe.architecture) | recipe.metadata).items():
        add(writer, key, value)
    for name, values, kind in tensors(checkpoint, recipe):
        if kind == I2_S or kind in GROUPS:
            data = i2s(values, recipe.i2s_block) if kind == I2_S else in_groups(values, kind)
            number = GROUPS[kind].number if kind in GROUPS else I2_S
            writer.add_tensor(name, data.view(np.int8), raw_shape=values.shape, raw_dtype=number)
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    for name, values in recipe.vectors.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def facts(checkpoint: Checkpoint, architecture: str) -> dict[str, Any]:
    config = checkpoint.config
    sizes = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": config.head_dim,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "rope.freq_base": config.rope_theta,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }
    return {f"{architecture}.{key}": value for key, value in sizes.items()}


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    methods: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    if value is not None:
        methods[type(value)](key, value)


def tensors(checkpoint: Checkpoint, recipe: Recipe) -> list[tuple[str, Array, int]]:
    """Every tensor as float32 with the type it is to be written in."""
    config = checkpoint.config
    out: list[tuple[str, Array, int]] = [
        ("token_embd.weight", floats(checkpoint, EMBEDDING), recipe.table),
        (
            "output_norm.weight",
            floats(checkpoint, "model.norm.weight") + np.float32(recipe.norm_shift),
            Kinds.F32,
        ),
    ]
    if not config.tie_word_embeddings:
        out.append(("output.weight", floats(checkpoint, LM_HEAD), recipe.table))
    for layer in range(config.num_hidden_layers):
        for norm in checkpoint.layer_norms():
            values = floats(checkpoint, f"model.layers.{layer}.{norm}.weight") + np.float32(recipe.norm_shift)
            out.append((f"blk.{layer}.{recipe.names[norm]}.weight", values, recipe.norms))
        for linear in config.projections:
            matrix = checkpoint.projection(f"model.layers.{layer}.{linear}")
            values = products(matrix)
            values = recipe.masters.get(f"layers.{layer}.{linear}.weight", values).astype(np.float32)
            rotated = linear in ("self_attn.q_proj", "self_attn.k_proj")
            if recipe.permute and rotated:
                values = interleave(values, config.head_dim)
            out.append((f"blk.{layer}.{NAMES[linear]}.weight", values, recipe.projections))
            if linear in config.biased:
                bias = floats(checkpoint, f"model.layers.{layer}.{linear}.bias")
                if recipe.permute and recipe.permute_biases and rotated:
                    bias = interleave(bias, config.head_dim)
                out.append((f"blk.{layer}.{NAMES[linear]}.bias", bias, Kinds.F32))
    return out


def products(matrix: TernaryTensor) -> Array:
    """Scales times trits."""
    scales = np.atleast_2d(matrix.scales)
    every = np.repeat(scales, matrix.shape[1] // scales.shape[1], axis=1)
    return unpack_codes(matrix.packed()) * every


def in_groups(values: Array, kind: int) -> npt.NDArray[np.uint8]:
    """Groups of columns with a float16 scale each (SPEC 3), the largest magnitude in them."""
    group, ternary_bytes = GROUPS[kind].group, GROUPS[kind].fifths
    blocks = values.reshape(-1, group)
    scales = np.abs(blocks).max(axis=1).astype(np.float16)
    codes = (np.sign(blocks) + 1).astype(np.uint8)
    scale_bytes = scales[:, None].view(np.uint8)
    if not ternary_bytes:
        quads = codes.reshape(len(codes), -1, 4) << np.array([0, 2, 4, 6], np.uint8)
        return np.concatenate([scale_bytes, np.bitwise_or.reduce(quads, axis=2)], axis=1)
    parts = []
    for first, width, digits in ((0, 16, 5), (80, 8, 5), (120, 2, 4)):
        trits = codes[:, first : first + width * digits].reshape(len(codes), digits, width).astype(int)
        number = sum(trits[:, n] * 3 ** (4 - n) for n in range(digits))
        parts.append(((number * 256 + 242) // 243).astype(np.uint8))
    return np.concatenate([*parts, scale_bytes], axis=1)


def floats(checkpoint: Checkpoint, name: str) -> Array:
    return checkpoint.float_tensor(name).astype(np.float32)


def interleave(values: Array, head_dim: int) -> Array:
    """permute() of convert_hf_to_gguf.py: the halves of every head row by row in turn."""
    heads = len(values) // head_dim
    return values.reshape(heads, 2, head_dim // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def i2s(values: Array, block: int = 128) -> npt.NDArray[np.uint8]:
    """quantize_i2_s of microsoft/BitNet, a weight at a time; what lies behind the scale is not defined."""
    trits, scale = np.sign(values).astype(int).reshape(-1), np.abs(values).max()
    quarter = block // 4
    out = np.zeros(trits.size // 4 + 32, np.uint8)
    for index, trit in enumerate(trits):
        place, within = divmod(index, block)
        group, byte = divmod(within, quarter)
        out[place * quarter + byte] |= (trit + 1) << (6 - 2 * group)
    out[trits.size // 4 :] = 0xA5
    out[trits.size // 4 : trits.size // 4 + 4] = np.frombuffer(np.float32(scale).tobytes(), np.uint8)
    return out


def vocabulary(tokenizer_json: bytes, pre: str | None, bos: str | None, eos: str | None) -> dict[str, Any]:
    """tokenizer.ggml.* as convert_hf_to_gguf.py writes it for a byte-level BPE."""
    tree = json.loads(tokenizer_json)
    added = {token["content"]: token for token in tree["added_tokens"]}
    ids = tree["model"]["vocab"] | {text: token["id"] for text, token in added.items()}
    tokens = [text for text, _ in sorted(ids.items(), key=lambda item: item[1])]
    types = [(3 if added[text]["special"] else 4) if text in added else 1 for text in tokens]
    pairs = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": types,
        "merges": [pair if isinstance(pair, str) else " ".join(pair) for pair in tree["model"]["merges"]],
        "bos_token_id": None if bos is None else ids[bos],
        "eos_token_id": None if eos is None else ids[eos],
    }
    return {f"tokenizer.ggml.{key}": value for key, value in pairs.items()}
