"""Exported folders in plain onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from tests.reference import Floats


class Runner:
    """An exported model in onnxruntime on one thread."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, ["CPUExecutionProvider"]
        )
        self.caches = {i.name: i for i in self.session.get_inputs() if i.name.startswith("past_key_values")}

    def start(self, batch: int = 1) -> Cache:
        empty = {
            name: np.zeros((batch, i.shape[1], 0, i.shape[3]), np.float32) for name, i in self.caches.items()
        }
        return Cache(empty)

    def step(self, ids: npt.ArrayLike, cache: Cache, mask: npt.NDArray[np.int64] | None = None) -> Floats:
        """Logits of every token of ``ids`` [batch, sequence]; ``cache`` grows by them."""
        tokens = np.asarray(ids, np.int64)
        total = cache.length + tokens.shape[1]
        mask = np.ones((tokens.shape[0], total), np.int64) if mask is None else mask
        positions = np.maximum(mask.cumsum(1) - 1, 0)[:, cache.length :]
        feeds = {"input_ids": tokens, "attention_mask": mask, "position_ids": positions} | cache.values
        logits, *present = self.session.run(None, feeds)
        names = [output.name for output in self.session.get_outputs()][1:]
        cache.values = {
            name.replace("present", "past_key_values"): value
            for name, value in zip(names, present, strict=True)
        }
        return np.asarray(logits)


@dataclass
class Cache:
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return int(next(iter(self.values.values())).shape[2])
