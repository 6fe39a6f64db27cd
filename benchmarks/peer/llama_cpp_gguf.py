"""llama.cpp through the C interface that llama-cpp-python binds: a call of the library per token, no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from benchmarks.peer.session import CONTEXT, Floats

UBATCH = 512  # llama.cpp's own default: what of a prompt is evaluated together


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator,unused-ignore]
def _silent(level: int, text: bytes, user_data: object) -> None:
    """Nothing: llama.cpp reports every tensor it loads."""


class GgufSession:
    def __init__(self, gguf: Path, threads: int) -> None:
        llama_cpp.llama_log_set(_silent, None)
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            str(gguf).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise ValueError(f"{gguf}: llama.cpp does not load this file")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = CONTEXT
        settings.n_ubatch = UBATCH
        settings.n_threads = settings.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            raise ValueError(f"{gguf}: llama.cpp opens no context of {CONTEXT} tokens")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(CONTEXT, 0, 1)
        self._position = 0
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def reset(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, False)
        self._position = 0

    def evaluate(self, ids: Sequence[int]) -> None:
        self._decode(ids, every=False)

    def choose(self) -> int:
        return int(np.argmax(self._row(-1)))

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        self._decode(ids, every=True)
        return np.stack([self._row(i) for i in range(len(ids))])

    def _decode(self, ids: Sequence[int], every: bool) -> None:
        """Appends tokens and asks for the logits of each, or of the last."""
        batch = self._batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = self._position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = every or i == len(ids) - 1
        code = llama_cpp.llama_decode(self._context, batch)
        if code:
            raise ValueError(f"llama_decode of {len(ids)} tokens returned {code}")
        self._position += len(ids)

    def _row(self, index: int) -> Floats:
        """A view that the next call overwrites."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(pointer, (self._vocab_size,))


def open_session(model: Path, threads: int, variant: str) -> GgufSession:
    return GgufSession(model, threads)
