"""Tiny checkpoints whose float weights are products of scales and trits, written by transformers: TriLM's and
others' layout, without a quantization_config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, Qwen3Config

from tests.builders import write_tokenizer
from tests.families import SIZES, VOCABULARY
from tests.reference import Floats

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Products:
    """``shards``: groups of rows that share a scale, 0: every row has its own; ``group``: columns that do,
    0: all. ``sizes``: other than hidden size 128, intermediate size 192.
    """

    config: type[PreTrainedConfig]
    dtype: torch.dtype
    shards: int
    group: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)


PRODUCTS = {
    "trilm, one scale": Products(LlamaConfig, torch.float16, 1),
    "trilm, two shards": Products(LlamaConfig, torch.float16, 2),
    "llama, rows": Products(LlamaConfig, torch.float32, 0),
    "llama, groups of 32": Products(LlamaConfig, torch.bfloat16, 0, 32),
    "qwen3, groups of 64": Products(Qwen3Config, torch.bfloat16, 0, 64),
}


def write_products(folder: Path, products: Products, seed: int = 0) -> Path:
    """Write the checkpoint into ``folder`` and return it."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = AutoModelForCausalLM.from_config(
        products.config(**{**SIZES, **products.sizes}), dtype=products.dtype
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("_proj.weight"):
                values = drawn_products(random, tuple(parameter.shape), products)
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))
            elif "norm" in name:
                parameter.add_(0.25 * torch.randn_like(parameter))
            else:  # embedding and head are bfloat16 in a bundle
                parameter.copy_(0.1 * torch.randn_like(parameter, dtype=torch.bfloat16))
    model.save_pretrained(folder)
    write_tokenizer(folder, VOCABULARY)
    return folder


def drawn_products(random: np.random.Generator, shape: tuple[int, ...], products: Products) -> Array:
    rows, columns = shape
    group = products.group or columns
    shards = products.shards or rows
    dtype = {torch.float16: np.float16, torch.bfloat16: ml_dtypes.bfloat16}.get(products.dtype, np.float32)
    scales = (random.uniform(0.4, 1.6, (shards, columns // group)) / columns**0.5).astype(dtype)
    every = np.repeat(np.repeat(scales, rows // shards, axis=0), group, axis=1)
    return random.integers(-1, 2, shape) * every.astype(np.float32)


def float_logits(folder: Path, ids: Array) -> Floats:
    """Logits of transformers in float32, from weights of any float type as they are stored."""
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        return np.asarray(model(torch.from_numpy(ids)).logits.numpy())
