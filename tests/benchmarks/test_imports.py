"""benchmarks/imports.py: every format it measures is the model it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.imports import FORMATS, measure
from edgebit.graph import OnnxModel
from edgebit.pipeline import open_graph
from tests.builders import Shape, write_checkpoint

SHAPE = Shape(hidden_size=256, intermediate_size=512, layers=2)
WEIGHT = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("imports") / "model", "packed", SHAPE)


def trits(graph: OnnxModel) -> bytes:
    tensor = graph.ir.graph.initializers[WEIGHT].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy()).tobytes()


@pytest.mark.filterwarnings("ignore::edgebit.errors.CheckpointWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_weights(name: str, checkpoint: Path, tmp_path: Path) -> None:
    model = FORMATS[name](checkpoint, tmp_path)
    assert trits(open_graph(model)) == trits(open_graph(checkpoint))


def test_what_is_measured_is_memory_and_time(checkpoint: Path) -> None:
    peak, tokenizer, seconds = measure(checkpoint)
    assert 0 < tokenizer <= peak < 400e6
    assert seconds > 0
