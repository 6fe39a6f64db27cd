"""A checkpoint as GGUF: the ternary matrices as TQ2_0, TQ1_0 or I2_S, everything else as it is stored.

TQ2_0 (SPEC 3): 256 weights of a row in 66 bytes, 64 bytes of codes and a float16 scale;
``w[128 h + 32 l + m] = ((qs[32 h + m] >> 2 l) & 3) - 1``. TQ1_0: 256 weights in 54 bytes, five trits a byte.
I2_S of bitnet.cpp: 128 weights in 32 bytes, one float32 scale for the matrix. Architecture "bitnet" of
llama.cpp; the file has no vocabulary, which llama.cpp accepts (tokenizer "none"): tokens are given as ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from edgebit.errors import CheckpointError
from edgebit.model import EMBEDDING, FINAL_NORM, Checkpoint, TernaryTensor, unpack_codes

Bytes = npt.NDArray[np.uint8]

ARCHITECTURE = "bitnet"
BLOCK = 256
I2_S = 36  # a type of bitnet.cpp, which the gguf package does not know
HEADS = {"f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16}
LINEARS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS = {
    "input_layernorm": "attn_norm",
    "self_attn.attn_sub_norm": "attn_sub_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm",
}


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: its name there, type, shape in bytes, and where its bytes come from."""

    name: str
    kind: int
    byte_shape: tuple[int, ...]
    source: str


def write_gguf(checkpoint: Checkpoint, path: Path, head: str, projections: str = "tq2_0") -> None:
    """Write a BitNet checkpoint with its embedding, which is the head too, as `head`: "f16" or "bf16", its
    `projections` as "tq2_0", "tq1_0" or "i2_s".

    One tensor is in memory at a time. Raises CheckpointError for what TQ2_0 or the architecture cannot hold.
    """
    _require_representable(checkpoint)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _add_metadata(writer, checkpoint)
    entries = list(_entries(checkpoint, HEADS[head], projections))
    for entry in entries:
        size = int(np.prod(entry.byte_shape))
        if entry.kind == I2_S:
            rows, columns = checkpoint.projection(entry.source).shape
            writer.add_tensor_info(entry.name, (rows, columns), np.dtype(np.int8), size, entry.kind)
        else:
            writer.add_tensor_info(entry.name, entry.byte_shape, np.dtype(np.uint8), size, entry.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for entry in entries:
        writer.write_tensor_data(_bytes(checkpoint, entry))
    writer.close()


def _require_representable(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    if config.family.name != ARCHITECTURE or not config.tie_word_embeddings:
        raise CheckpointError(f"{checkpoint.path}: llama.cpp's graph is for a BitNet with a tied head")
    for size in (config.hidden_size, config.query_size, config.intermediate_size):
        if size % BLOCK:
            raise CheckpointError(f"{checkpoint.path}: rows of {size} weights, TQ2_0 needs whole {BLOCK}s")


def _add_metadata(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    writer.add_name(checkpoint.name)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    # llama.cpp knows the key, but its BitNet graph does not read it yet (0.3.36: SiLU whatever it says).
    writer.add_string(f"{ARCHITECTURE}.hidden_activation", config.hidden_act)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_TQ2_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_tokenizer_model("none")


def _entries(checkpoint: Checkpoint, head: int, projections: str) -> Iterator[Entry]:
    config, kinds = checkpoint.config, gguf.GGMLQuantizationType
    yield Entry("token_embd.weight", head, (config.vocab_size, 2 * config.hidden_size), EMBEDDING)
    yield Entry("output_norm.weight", kinds.F32, (4 * config.hidden_size,), FINAL_NORM)
    for layer in range(config.num_hidden_layers):
        for norm, size in checkpoint.layer_norms().items():
            source = f"model.layers.{layer}.{norm}.weight"
            yield Entry(f"blk.{layer}.{NORMS[norm]}.weight", kinds.F32, (4 * size,), source)
        for linear, (rows, columns) in config.projections.items():
            kind = KINDS[projections]
            shape: tuple[int, ...] = (rows * columns // 4 + 32,)
            if kind != I2_S:
                shape = (rows, columns // BLOCK * gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)][1])
            source = f"model.layers.{layer}.{linear}"
            yield Entry(f"blk.{layer}.{LINEARS[linear]}.weight", kind, shape, source)


def _bytes(checkpoint: Checkpoint, entry: Entry) -> Bytes:
    kinds = gguf.GGMLQuantizationType
    if entry.kind in ENCODERS:
        return ENCODERS[entry.kind](checkpoint.projection(entry.source))
    values: npt.NDArray[Any] = checkpoint.float_tensor(entry.source)
    if entry.kind == kinds.F32:
        values = values.astype("<f4")
    elif entry.kind == kinds.F16:
        values = values.astype(np.float32).astype("<f2")
    else:
        values = checkpoint.bfloat16_rows(entry.source)
    return np.ascontiguousarray(values).view(np.uint8)


def tq2_0(matrix: TernaryTensor) -> Bytes:
    """uint8 [N, K/256 · 66]. The scale is rounded to float16: exact for bfloat16 scales of ordinary size."""
    scale = np.frombuffer(np.float16(matrix.scale).tobytes(), np.uint8)
    return np.concatenate([_blocks(unpack_codes(packed), scale) for packed in matrix.blocks()])


def _blocks(trits: npt.NDArray[np.int8], scale: Bytes) -> Bytes:
    rows, columns = trits.shape
    codes = (trits + 1).view(np.uint8).reshape(rows, columns // BLOCK, 2, 4, 32)
    quads = codes[..., 0, :] | codes[..., 1, :] << 2 | codes[..., 2, :] << 4 | codes[..., 3, :] << 6
    quads = quads.reshape(rows, columns // BLOCK, 64)
    scales = np.broadcast_to(scale, (*quads.shape[:2], scale.size))
    return np.concatenate([quads, scales], -1).reshape(rows, -1)


def tq1_0(matrix: TernaryTensor) -> Bytes:
    """uint8 [N, K/256 · 54]: 48 bytes and 4, of five and four trits each, and a float16 scale."""
    scale = np.frombuffer(np.float16(matrix.scale).tobytes(), np.uint8)
    out = []
    for packed in matrix.blocks():
        codes = (unpack_codes(packed) + 1).view(np.uint8).reshape(len(packed), -1, BLOCK)
        parts = (codes[..., :160], codes[..., 160:240], codes[..., 240:])
        fields = [_base3(part, count) for part, count in zip(parts, (5, 5, 4), strict=True)]
        scales = np.broadcast_to(scale, (*codes.shape[:2], scale.size))
        out.append(np.concatenate([*fields, scales], -1).reshape(len(packed), -1))
    return np.concatenate(out)


def _base3(codes: Bytes, count: int) -> Bytes:
    """``count`` trits a byte, the first most significant, in 256ths of 3⁵."""
    trits = codes.reshape(*codes.shape[:-1], count, -1).astype(np.uint16)
    powers = np.array([3 ** (4 - i) for i in range(count)], np.uint16)[:, None]
    value = (trits * powers).sum(-2, dtype=np.uint16)
    return np.asarray((value * 256 + 242) // 243, np.uint8)


def i2_s(matrix: TernaryTensor) -> Bytes:
    """uint8 [N · K/4 + 32]: 128 weights in 32 bytes, the first highest, then the scale."""
    parts = []
    for packed in matrix.blocks():
        codes = (unpack_codes(packed) + 1).view(np.uint8).reshape(-1, 4, 32)
        parts.append((codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]).reshape(-1))
    tail = np.zeros(32, np.uint8)
    tail[:4] = np.frombuffer(np.float32(matrix.scale).tobytes(), np.uint8)
    return np.concatenate([*parts, tail])


KINDS = {
    "tq2_0": int(gguf.GGMLQuantizationType.TQ2_0),
    "tq1_0": int(gguf.GGMLQuantizationType.TQ1_0),
    "i2_s": I2_S,
}
ENCODERS: Mapping[int, Callable[[TernaryTensor], Bytes]] = {
    KINDS["tq2_0"]: tq2_0,
    KINDS["tq1_0"]: tq1_0,
    I2_S: i2_s,
}
