"""The kinds of files that are damaged, each with a valid model to start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.builders import Shape, split_into_shards, write_checkpoint
from tests.malformed import (
    config_cases,
    gguf_cases,
    matmulnbits_cases,
    onnx_cases,
    pooling_cases,
    safetensors_cases,
    tokenizer_cases,
)
from tests.malformed.damage import Cases

SHAPE = Shape(hidden_size=64, intermediate_size=96, layers=1, vocab_size=320)


@dataclass(frozen=True)
class Kind:
    """``write`` makes a folder; ``model`` in it is what is opened; a message names one of ``words``."""

    write: Callable[[Path], object]
    cases: Callable[[], Cases]
    words: tuple[str, ...]
    model: str = ""

    def names_what_is_wrong(self, message: str) -> bool:
        return any(word in message for word in self.words)


def _checkpoint(folder: Path) -> None:
    write_checkpoint(folder, "packed", SHAPE)


def _shards(folder: Path) -> None:
    write_checkpoint(folder, "llama", SHAPE)
    split_into_shards(folder)


KINDS: Mapping[str, Kind] = {
    "safetensors": Kind(_checkpoint, safetensors_cases.cases, ("model.safetensors", "tensor ")),
    "shards": Kind(_shards, safetensors_cases.shard_cases, ("safetensors", "tensor ")),
    "pooling": Kind(pooling_cases.write, pooling_cases.cases, ("modules.json", "1_Pooling/config.json")),
    "config": Kind(_checkpoint, config_cases.cases, ("config.json", "generation_config.json", "tensor ")),
    "tokenizer": Kind(_checkpoint, tokenizer_cases.cases, ("token", "template")),
    "gguf": Kind(
        gguf_cases.write, gguf_cases.cases, ("model.gguf", "tokenizer", "chat template"), "model.gguf"
    ),
    "onnx": Kind(
        onnx_cases.write,
        onnx_cases.cases,
        ("model.onnx", "node ", "tensor ", "graph", "tokenizer.json", "template"),
        "model.onnx",
    ),
    "matmulnbits": Kind(
        matmulnbits_cases.write,
        matmulnbits_cases.cases,
        ("(MatMulNBits)", "genai_config.json", "model.onnx: ", "tensor ", "tokenizer.json", "graph "),
        "model.onnx",
    ),
}
