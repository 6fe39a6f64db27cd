"""Tiny checkpoints in the layout of microsoft/bitnet-embedding-*, and what torch computes of them.

transformers has no class for these models: its Qwen3Model and Gemma3TextModel run with every projection
replaced by `BitLinear` of this file, the norm of its own input included.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import safetensors.numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, Gemma3TextConfig, PreTrainedConfig, Qwen3Config

from tests.builders import END_OF_TEXT, special_id, tokenizer_json, write_json, write_pooling
from tests.gguf_files import I2_S, Kinds, write_gguf
from tests.gguf_files import Recipe as GgufRecipe
from tests.reference import Floats, HalfCache

VOCABULARY = 320
# The first one is nothing but the token at its end, which the decode plan computes; the last is the longest.
TEXTS = ["", "a", "turn on the lights", "Zürich, 東京 & Αθήνα: 🙂", "the quick brown fox jumps; " * 9]
NEAR = 0.9995  # cosine, SPEC 6: up to three layers
EPS = 1e-3  # large enough to be noticed
SIZES: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "rms_norm_eps": EPS,
    "bos_token_id": None,
    "eos_token_id": special_id(VOCABULARY, END_OF_TEXT),
    "pad_token_id": None,
    "tie_word_embeddings": True,
}
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Prints the tier and the bits of embeddings; runs under every Python.
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
model = load(sys.argv[1], threads=int(sys.argv[2]))
print(model.info.tier, "".join(vector.tobytes().hex() for vector in model.embed(sys.argv[3:])))
"""


@dataclass(frozen=True)
class Recipe:
    """``config``: the class of transformers and what is not in SIZES."""

    config: type[PreTrainedConfig]
    values: Mapping[str, Any] = field(default_factory=dict)


RECIPES: Mapping[str, Recipe] = {
    "qwen3": Recipe(Qwen3Config, {"rope_theta": 1e6}),
    "gemma3": Recipe(
        Gemma3TextConfig,
        {
            "num_key_value_heads": 1,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "sliding_window": 20,
            "query_pre_attn_scalar": 48,
        },
    ),
}


def write_encoder(folder: Path, name: str, pooling: str | None = None, seed: int = 0) -> Path:
    """Write bfloat16 masters without the prefix "model."; ``pooling``: of modules.json (None: none)."""
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    model = AutoModel.from_config(recipe.config(**{**SIZES, **recipe.values}), dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parameter.copy_(_drawn(parameter_name, parameter))
    model.save_pretrained(folder)
    norms = {
        f"{projection}.norm.weight": (1 + 0.5 * torch.randn(module.in_features)).bfloat16()
        for projection, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    path = folder / "model.safetensors"
    tensors = load_file(path)
    assert not any(tensor.startswith("model.") for tensor in tensors)
    save_file(tensors | norms, path, {"format": "pt"})
    write_tokenizer(folder)
    if pooling is not None:
        write_pooling(folder, pooling, "Normalize")
    return folder


def write_tokenizer(folder: Path) -> None:
    """Byte-level BPE with Qwen's split; its post-processor puts <|end_of_text|> behind a text."""
    table = tokenizer_json(VOCABULARY)
    table["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": QWEN_SPLIT}
    table["normalizer"] = {"type": "NFC"}
    table["model"]["ignore_merges"] = False
    end = {"id": END_OF_TEXT, "ids": [special_id(VOCABULARY, END_OF_TEXT)], "tokens": [END_OF_TEXT]}
    single = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}]
    table["post_processor"]["processors"][1] = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {END_OF_TEXT: end},
    }
    write_json(folder / "tokenizer.json", table)
    write_json(folder / "tokenizer_config.json", {"eos_token": END_OF_TEXT, "add_bos_token": False})


def _drawn(name: str, parameter: torch.Tensor) -> torch.Tensor:
    if "norm" in name:  # Gemma's start at 0, Qwen's at 1
        return parameter + 0.25 * torch.randn_like(parameter)
    deviation = 0.1 if "embed" in name else 0.8 / parameter.shape[-1] ** 0.5
    return deviation * torch.randn_like(parameter)


class BitLinear(torch.nn.Module):
    """A projection that normalises and quantises its input, as SPEC 1.3 and 4 say it."""

    def __init__(self, weight: torch.Tensor, norm: torch.Tensor, eps: float) -> None:
        super().__init__()
        mean = weight.abs().mean().clamp(min=1e-5)
        self.trits = (weight * (1 / mean)).round().clamp(-1, 1)
        self.mean, self.norm, self.eps = mean, norm, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.norm
        scale = 127 * h.abs().amax(-1, keepdim=True).clamp(min=1e-5).reciprocal()
        return (h * scale).round().clamp(-128, 127) @ self.trits.T * (self.mean / scale)


def encoder_states(folder: Path, ids: list[int], half_cache: bool) -> Floats:
    """Hidden states [sequence, hidden] behind the final norm, in float32."""
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        projections = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        for name in projections:
            own = BitLinear(
                tensors[f"{name}.weight"], tensors[f"{name}.norm.weight"], model.config.rms_norm_eps
            )
            model.set_submodule(name, own)
        cache = HalfCache(config=model.config) if half_cache else None
        states = model(torch.tensor([ids]), past_key_values=cache).last_hidden_state
    return np.asarray(states[0].numpy())


def pooled(states: npt.NDArray[np.float32], pooling: str) -> npt.NDArray[np.float32]:
    vector = states[-1] if pooling == "last" else states.mean(axis=0)
    return np.asarray(vector / np.linalg.norm(vector))


def cosines(
    folder: Path, vectors: Floats, texts: list[list[int]], pooling: str, half_cache: bool = True
) -> list[float]:
    """Of each vector with that of torch for the same tokens; ``half_cache``: keys and values are float16."""
    expected = [pooled(encoder_states(folder, ids, half_cache), pooling) for ids in texts]
    return [float(found @ wanted) for found, wanted in zip(vectors, expected, strict=True)]


def tokens_of(folder: Path, texts: list[str]) -> list[list[int]]:
    """As the tokenizers library has them, what its post-processor adds included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(json.loads((folder / "tokenizer.json").read_text())))
    return [tokenizer.encode(text).ids for text in texts]


def embeddings(graph: Path, texts: list[list[int]]) -> Floats:
    """Of each text on its own, by onnxruntime."""
    runner = onnxruntime.InferenceSession(str(graph / "model.onnx"), providers=["CPUExecutionProvider"])
    rows = []
    for ids in texts:
        tokens = np.array([ids], np.int64)
        positions = np.arange(len(ids), dtype=np.int64)[None]
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "position_ids": positions}
        rows.append(np.asarray(runner.run(None, feeds)[0])[0])
    return np.array(rows)


def write_gguf_of(checkpoint: Path, kind: int, **metadata: Any) -> Path:
    """The file Microsoft's converter makes of a Qwen3, in the same folder; no I2_S: masters.

    In names of metadata "." is written "__".
    """
    masters = {} if kind == I2_S else safetensors.numpy.load_file(checkpoint / "model.safetensors")
    said = {"qwen3.pooling_type": 3, **{key.replace("__", "."): value for key, value in metadata.items()}}
    recipe = GgufRecipe("qwen3", projections=kind, norms=Kinds.F16, masters=masters, metadata=said)
    return write_gguf(checkpoint, checkpoint / "model.gguf", recipe)


def printed_bits(
    python: str, texts: list[str], bundle: Path, threads: int = 1, **environment: str
) -> list[str]:
    """[tier, bits] by the bundle's own loader."""
    command = [python, "-c", PROGRAM, str(bundle), str(threads), *texts]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()
