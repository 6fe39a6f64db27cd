"""transformers on the CPU, eager, as `from_pretrained` gives it: weights unpacked to the dtype at load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from benchmarks.peer.session import Floats

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class TransformersSession:
    def __init__(self, checkpoint: Path, threads: int, dtype: torch.dtype) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        # Compiled quantisers would need a C++ compiler and give other values than eager ones.
        torch.compiler.set_stance("force_eager")
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=torch.bfloat16, attn_implementation="eager", local_files_only=True
        )
        self._widen(dtype)
        self.reset()

    def _widen(self, dtype: torch.dtype) -> None:
        """Afterwards: loading a packed checkpoint as float32 leaves half of it in bfloat16 (SPEC 1.3)."""
        torch.nn.Module.to(self._model, dtype)
        for module in self._model.modules():
            if hasattr(module, "in_features") and isinstance(getattr(module, "dtype", None), torch.dtype):
                module.dtype = dtype  # what BitLinear casts its output to

    def reset(self) -> None:
        self._cache = DynamicCache(config=self._model.config)
        self._last: Any = None

    def evaluate(self, ids: Sequence[int]) -> None:
        self._last = self._logits(ids, keep=1)[-1]

    def choose(self) -> int:
        return int(self._last.argmax())

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        return np.asarray(self._logits(ids, keep=0).float().numpy())

    def _logits(self, ids: Sequence[int], keep: int) -> Any:
        """Logits of the last `keep` tokens; 0: of all."""
        tokens = torch.tensor([list(ids)])
        output = self._model(tokens, past_key_values=self._cache, use_cache=True, logits_to_keep=keep)
        return output.logits[0]


def open_session(model: Path, threads: int, variant: str) -> TransformersSession:
    return TransformersSession(model, threads, DTYPES[variant])
