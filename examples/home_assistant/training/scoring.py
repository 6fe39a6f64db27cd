"""Exact match of greedy answers, measured on the torch model during training.

Under teacher forcing a greedy answer is right exactly when every one of its tokens is the arg-max, so one
forward pass decides. The figures that count come from ``evaluate.py``, which runs the compiled bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .dataset import ANSWER_WEIGHT, Document, PackedRows, lay_out

_BATCH = 64


@torch.no_grad()
def exact_match(model: nn.Module, documents: Sequence[Document]) -> float:
    """Share of single-turn ``documents`` whose answer the model gives token for token."""
    by_length = sorted(documents, key=lambda document: len(document.ids))
    right = 0
    for start in range(0, len(by_length), _BATCH):
        batch = by_length[start : start + _BATCH]
        rows = lay_out([[document] for document in batch], max(len(document.ids) for document in batch))
        right += int(_answers_right(model, rows).sum())
    return right / len(documents)


def _answers_right(model: nn.Module, rows: PackedRows) -> Tensor:
    ids, documents, weights = as_tensors(rows, slice(None))
    predicted = model(ids, documents)[:, :-1].argmax(-1)
    is_answer = weights[:, 1:] == ANSWER_WEIGHT
    right: Tensor = ((predicted == ids[:, 1:]) | ~is_answer).all(-1)
    return right


def as_tensors(rows: PackedRows, part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and document numbers (int64) and weights (float32) of some rows."""
    ids = torch.from_numpy(rows.ids[part].astype(np.int64))
    documents = torch.from_numpy(rows.documents[part].astype(np.int64))
    return ids, documents, torch.from_numpy(rows.weights[part])
