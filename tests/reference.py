"""Logits of transformers, and how far others may be from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, DynamicCache

Floats = npt.NDArray[np.float32]


class HalfCache(DynamicCache):
    """Keys and values go through float16, as in the engine's KV cache."""

    def update(self, keys: torch.Tensor, values: torch.Tensor, *rest: Any, **more: Any) -> Any:
        return super().update(keys.half().to(keys.dtype), values.half().to(values.dtype), *rest, **more)


def transformers_logits(
    folder: Path,
    ids: npt.NDArray[np.int64],
    dtype: torch.dtype,
    half_cache: bool = False,
    load_dtype: torch.dtype = torch.bfloat16,
) -> Floats:
    """Eager logits [batch, sequence, vocab] of transformers.

    Compiled quantisers would need a C++ compiler and give other values.
    """
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model = _opened(folder, dtype, load_dtype)
        cache = HalfCache(config=model.config) if half_cache else None
        logits = model(torch.from_numpy(ids), past_key_values=cache).logits
    return np.asarray(logits.float().numpy())


def transformers_states(folder: Path, ids: list[int]) -> Floats:
    """Hidden states [sequence, hidden] behind the final norm, float32 with a float16 cache."""
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model = _opened(folder, torch.float32)
        cache = HalfCache(config=model.config)
        states = model.model(torch.tensor([ids]), past_key_values=cache).last_hidden_state
    return np.asarray(states[0].numpy())


def _opened(folder: Path, dtype: torch.dtype, load_dtype: torch.dtype = torch.bfloat16) -> Any:
    """Loaded in bfloat16 and widened afterwards: as float32 a packed one is loaded wrongly (SPEC 1.3).

    Masters can be loaded as float32. Gemma's factor of embeddings is rounded on the way, and put back.
    """
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=load_dtype, attn_implementation="eager", local_files_only=True
    )
    torch.nn.Module.to(model, dtype)
    for module in model.modules():  # BitLinear casts to the dtype it was made with
        if hasattr(module, "in_features") and isinstance(getattr(module, "dtype", None), torch.dtype):
            module.dtype = dtype
        if hasattr(module, "scalar_embed_scale"):
            module.embed_scale = torch.tensor(module.scalar_embed_scale, dtype=dtype)
    return model


def log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    shifted: npt.NDArray[np.float64] = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
    return shifted


def divergence(reference: Floats, logits: Floats) -> float:
    """Mean Kullback-Leibler divergence over all tokens."""
    p, q = log_softmax(reference), log_softmax(logits)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def check_logits(reference: Floats, narrow: Floats, logits: Floats) -> None:
    """SPEC 6 (c): at most 0.3 of the divergence bfloat16 costs transformers itself; no confident miss."""
    floor = divergence(reference, narrow)
    assert floor > 1e-5
    assert divergence(reference, logits) <= 0.3 * floor
    chosen = np.take_along_axis(reference, logits.argmax(-1)[..., None], -1)[..., 0]
    assert (reference.max(-1) - chosen < 0.2 * reference.std()).all()
