"""onnxruntime on an exported graph, with the names of onnxruntime-genai (see edgebit/graph/builder.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.peer.session import Floats


class GraphSession:
    def __init__(self, graph: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors alone: it warns of every weight it folds
        self._session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._empty = {
            cache.name: np.zeros((1, cache.shape[1], 0, cache.shape[3]), np.float32)
            for cache in self._session.get_inputs()
            if cache.name.startswith("past_key_values")
        }
        self.reset()

    def reset(self) -> None:
        self._cache = self._empty
        self._position = 0
        self._last: Floats = np.zeros(0, np.float32)

    def evaluate(self, ids: Sequence[int]) -> None:
        self._last = self.evaluate_all(ids)[-1]

    def choose(self) -> int:
        return int(self._last.argmax())

    def evaluate_all(self, ids: Sequence[int]) -> Floats:
        total = self._position + len(ids)
        feeds = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(self._position, total, dtype=np.int64)[None],
        }
        values = dict(zip(self._outputs, self._session.run(None, feeds | self._cache), strict=True))
        self._cache = {name: values[name.replace("past_key_values", "present")] for name in self._empty}
        self._position = total
        logits: Floats = values["logits"][0]
        return logits


def open_session(model: Path, threads: int, variant: str) -> GraphSession:
    """`model`: the folder of an exported graph."""
    return GraphSession(model / "model.onnx", threads)
