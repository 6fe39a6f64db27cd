"""Tiny random checkpoints in every layout edgebit reads; deterministic, by numpy and safetensors alone.

    packed   BitNetForCausalLM, autobitlinear offline, uint8, weight_scale = mean|W|     (bitnet-b1.58-2B-4T)
    master   BitNetForCausalLM, autobitlinear online, bfloat16 weights                   (…-2B-4T-bf16)
    llama    LlamaForCausalLM, bitlinear, uint8, weight_scale = 1/mean|W|, untied head   (Falcon3-1.58bit)

`packed` and `llama` of one shape and seed hold the trits that absmean makes of `master`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

LAYOUTS = ("packed", "master", "llama")

CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BOS, END_OF_TEXT, END_OF_TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
SPECIAL_TOKENS = (BOS, END_OF_TEXT, END_OF_TURN)
_SAMPLE = (
    "the quick brown fox jumps over the lazy dog and then the other one; turn on the lights in the kitchen "
)
_MERGES = 48


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder; ``head_dim`` None is hidden_size / heads and is then left out of config.json."""

    hidden_size: int = 128
    intermediate_size: int = 192
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int | None = None
    vocab_size: int = 320
    positions: int = 256
    rope_theta: float = 500000.0

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.heads


TINY = Shape()
# No size is a multiple of the 64 to which the engine pads; head_dim is its own. In transformers a Llama can
# be like that, a BitNet needs hidden_size = heads · head_dim.
ODD = Shape(hidden_size=136, intermediate_size=212, heads=4, key_value_heads=4, head_dim=16, vocab_size=333)
# All query heads share one key and value head.
GROUPED = Shape(hidden_size=192, intermediate_size=300, layers=3, heads=6, key_value_heads=1)


def write_checkpoint(folder: Path, layout: str, shape: Shape = TINY, seed: int = 0) -> Path:
    """Write a checkpoint of ``layout`` into ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, shape.vocab_size)
    save_file(checkpoint_tensors(layout, shape, seed), folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", checkpoint_config(layout, shape))
    eos = [special_id(shape.vocab_size, END_OF_TEXT), special_id(shape.vocab_size, END_OF_TURN)]
    generation = {"bos_token_id": special_id(shape.vocab_size, BOS), "eos_token_id": eos, "do_sample": True}
    write_json(folder / "generation_config.json", generation)
    return folder


def checkpoint_config(layout: str, shape: Shape) -> dict[str, Any]:
    config: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": shape.rope_theta,
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": special_id(shape.vocab_size, BOS),
        "eos_token_id": special_id(shape.vocab_size, END_OF_TEXT),
    }
    if shape.head_dim is not None:
        config["head_dim"] = shape.head_dim
    if layout == "llama":
        quantization: dict[str, Any] = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
        family = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
        return config | family | {"tie_word_embeddings": False, "quantization_config": quantization}
    mode = "online" if layout == "master" else "offline"
    quantization = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": mode}
    family = {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2"}
    return config | family | {"tie_word_embeddings": True, "quantization_config": quantization}


def checkpoint_tensors(layout: str, shape: Shape, seed: int) -> Tensors:
    """All tensors of model.safetensors; the same seed draws the same weights in every layout."""
    draw = _Draw(seed)
    hidden, inner, vocab = shape.hidden_size, shape.intermediate_size, shape.vocab_size
    query, key_value = shape.heads * shape.head_size, shape.key_value_heads * shape.head_size
    tensors: Tensors = {
        "model.embed_tokens.weight": draw.matrix(vocab, hidden, 0.1),
        "lm_head.weight": draw.matrix(vocab, hidden, 0.1),
        "model.norm.weight": draw.norm(hidden),
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        norms = {
            "input_layernorm": hidden,
            "post_attention_layernorm": hidden,
            "self_attn.attn_sub_norm": query,
            "mlp.ffn_sub_norm": inner,
        }
        tensors |= {f"{name}.{norm}.weight": draw.norm(size) for norm, size in norms.items()}
        linears = {
            "self_attn.q_proj": (query, hidden),
            "self_attn.k_proj": (key_value, hidden),
            "self_attn.v_proj": (key_value, hidden),
            "self_attn.o_proj": (hidden, query),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        for linear, (rows, columns) in linears.items():
            weight = draw.matrix(rows, columns, 0.8 / columns**0.5)
            tensors |= _stored_linear(f"{name}.{linear}.weight", weight, layout)
    if layout == "llama":
        return {name: tensor for name, tensor in tensors.items() if "sub_norm" not in name}
    del tensors["lm_head.weight"]
    return tensors


def _stored_linear(name: str, weight: Array, layout: str) -> Tensors:
    if layout == "master":
        return {name: weight}
    trits, mean = absmean(weight)
    scale = mean if layout == "packed" else 1 / mean
    return {name: pack_rows(trits), f"{name}_scale": np.array([scale]).astype(ml_dtypes.bfloat16)}


def absmean(weight: Array) -> tuple[npt.NDArray[np.int8], np.float32]:
    """Trits and multiplier of a float matrix, written down as SPEC 1.3 says it."""
    wide = weight.astype(np.float32)
    scale = np.float32(1) / max(np.float32(np.abs(wide).mean(dtype=np.float64)), np.float32(1e-5))
    return np.clip(np.rint(wide * scale), -1, 1).astype(np.int8), np.float32(1) / scale


def pack_rows(trits: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """The layout of transformers: byte row r holds rows r, r + N/4, r + 2N/4, r + 3N/4."""
    codes = (trits + 1).astype(np.uint8).reshape(4, trits.shape[0] // 4, -1)
    packed: npt.NDArray[np.uint8] = codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6
    return packed


class _Draw:
    """Random bfloat16 tensors; each draw continues one stream."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, rows: int, columns: int, deviation: float) -> Array:
        return (self._random.standard_normal((rows, columns)) * deviation).astype(ml_dtypes.bfloat16)

    def norm(self, size: int) -> Array:
        return (1 + 0.25 * self._random.standard_normal(size)).astype(ml_dtypes.bfloat16)


def write_pooling(folder: Path, mode: str, *more: str) -> Path:
    """modules.json of sentence-transformers with pooling_mode_``mode`` true, and other modules behind it."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    kinds |= {f"{i}_{name}": name for i, name in enumerate(more, 2)}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    write_json(folder / "1_Pooling" / "config.json", {f"pooling_mode_{name}": name == mode for name in modes})
    return folder


def append_eos(folder: Path, token: str) -> None:
    """Let the post-processor of tokenizer.json put ``token`` behind a text, as Qwen3-Embedding's does."""
    table = json.loads((folder / "tokenizer.json").read_text())
    template = table["post_processor"]["processors"][-1]
    template["single"].append({"SpecialToken": {"id": token, "type_id": 0}})
    ids = [entry["id"] for entry in table["added_tokens"] if entry["content"] == token]
    template["special_tokens"][token] = {"id": token, "ids": ids, "tokens": [token]}
    write_json(folder / "tokenizer.json", table)


def change_tensors(folder: Path, **changes: Array | None) -> None:
    """Replace, add or (None) remove tensors of model.safetensors; "." of a name is written "__"."""
    path = folder / "model.safetensors"
    tensors = load_file(path) | {name.replace("__", "."): value for name, value in changes.items()}
    save_file({name: value for name, value in tensors.items() if value is not None}, path, {"format": "pt"})


def change_json(path: Path, **changes: Any) -> None:
    """Replace, add or (None) remove entries of a JSON file."""
    values = json.loads(path.read_text()) | changes
    write_json(path, {key: value for key, value in values.items() if value is not None})


def split_into_shards(folder: Path, shards: int = 3) -> None:
    """Turn model.safetensors into numbered shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)
    (folder / "model.safetensors").unlink()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def special_id(vocab_size: int, token: str) -> int:
    """Special tokens are the last ones of the vocabulary."""
    return vocab_size - len(SPECIAL_TOKENS) + SPECIAL_TOKENS.index(token)


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """A byte-level BPE with the Llama-3 split, a few merges, reserved tokens, BOS by its post-processor."""
    write_json(folder / "tokenizer.json", tokenizer_json(vocab_size))
    names = {"bos_token": BOS, "eos_token": END_OF_TURN}
    settings = {"chat_template": CHAT_TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(folder / "tokenizer_config.json", names | settings)
    write_json(folder / "special_tokens_map.json", names)


def tokenizer_json(vocab_size: int) -> dict[str, Any]:
    alphabet = _byte_alphabet()
    merges = _train_merges(_SAMPLE, alphabet, min(_MERGES, vocab_size - 256 - len(SPECIAL_TOKENS)))
    tokens = [*alphabet, *("".join(pair) for pair in merges)]
    reserved = [f"<|reserved_{i}|>" for i in range(vocab_size - len(tokens) - len(SPECIAL_TOKENS))]
    added = [
        {
            "id": len(tokens) + i,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, content in enumerate([*reserved, *SPECIAL_TOKENS])
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}, "behavior": "Isolated", "invert": False}
    bos = {"SpecialToken": {"id": BOS, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {BOS: {"id": BOS, "ids": [special_id(vocab_size, BOS)], "tokens": [BOS]}},
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": {"type": "Sequence", "processors": [byte_level, template]},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def _byte_alphabet() -> list[str]:
    """GPT-2's printable character of every byte, in byte order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shifted = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in printable else next(shifted) for byte in range(256)]


def _train_merges(text: str, alphabet: list[str], count: int) -> list[tuple[str, str]]:
    """The first merges of byte-pair encoding on ``text``; ties go to the smaller pair."""
    words = [[alphabet[byte] for byte in f" {word}".encode()] for word in text.split()]
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = [_merge(word, best) for word in words]
    return merges


def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged
