"""Exported graphs in plain onnxruntime: the model transformers computes, in one pass or token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.builders import GROUPED, LAYOUTS, ODD, TINY, Shape, write_checkpoint
from tests.graph.exporting import export
from tests.graph.running import Runner
from tests.reference import check_logits, divergence, transformers_logits

MODELS = [(layout, shape) for layout in LAYOUTS for shape in (TINY, GROUPED)] + [("llama", ODD)]


def random_ids(batch: int, length: int, shape: Shape = TINY) -> npt.NDArray[np.int64]:
    return np.random.default_rng(7).integers(0, shape.vocab_size, (batch, length))


@pytest.mark.parametrize(("layout", "shape"), MODELS)
def test_logits_are_those_of_transformers(tmp_path: Path, layout: str, shape: Shape) -> None:
    folder = write_checkpoint(tmp_path / "model", layout, shape)
    ids = random_ids(4, 24, shape)
    reference = transformers_logits(folder, ids, torch.float32)
    narrow = transformers_logits(folder, ids, torch.bfloat16)
    runner = Runner(export(folder, tmp_path / "onnx"))
    check_logits(reference, narrow, runner.step(ids, runner.start(batch=4)))


@pytest.fixture(scope="module", params=LAYOUTS)
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp(request.param)
    return Runner(export(write_checkpoint(folder / "model", request.param, GROUPED), folder / "onnx"))


def test_decoding_with_past_continues_a_prefill(runner: Runner) -> None:
    ids = random_ids(1, 20, GROUPED)
    whole = runner.step(ids, runner.start())
    cache = runner.start()
    parts = [runner.step(ids[:, :11], cache), runner.step(ids[:, 11:14], cache)]
    parts += [runner.step(ids[:, i : i + 1], cache) for i in range(14, 20)]
    assert cache.length == 20
    pieced = np.concatenate(parts, 1)
    assert divergence(whole, pieced) < 1e-4
    assert (whole.argmax(-1) == pieced.argmax(-1)).all()


def test_no_token_sees_a_later_one(runner: Runner) -> None:
    ids = random_ids(1, 12, GROUPED)
    changed = ids.copy()
    changed[0, -1] = (changed[0, -1] + 1) % GROUPED.vocab_size
    logits = runner.step(ids, runner.start())
    other = runner.step(changed, runner.start())
    assert (logits[:, :-1] == other[:, :-1]).all()
    assert (logits[:, -1] != other[:, -1]).any()


def test_left_padding_changes_nothing(runner: Runner) -> None:
    ids = random_ids(1, 9, GROUPED)
    alone = runner.step(ids, runner.start())
    padded = np.concatenate([np.zeros((1, 4), np.int64), ids], 1)
    batch = np.concatenate([padded, random_ids(1, 13, GROUPED)])
    mask = np.ones((2, 13), np.int64)
    mask[0, :4] = 0
    together = runner.step(batch, runner.start(batch=2), mask)[:1, 4:]
    assert divergence(alone, together) < 1e-4
