"""Each tiny model is compiled once for all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgebit.compiler.compiled import CompiledModel
from edgebit.graph import OnnxModel
from tests.builders import GROUPED, ODD, TINY, Shape, write_checkpoint
from tests.end_to_end.bundles import compile_checkpoint


@dataclass(frozen=True)
class TinyModel:
    checkpoint: Path
    bundle: Path
    graph: OnnxModel
    compiled: CompiledModel


MODELS: dict[str, tuple[str, Shape]] = {
    "packed": ("packed", TINY),
    "master": ("master", TINY),
    "llama": ("llama", TINY),
    "odd": ("packed", ODD),
    "grouped": ("packed", GROUPED),
}


@pytest.fixture(scope="session", params=list(MODELS))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Every layout and shape in turn."""
    return make(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make("packed", tmp_path_factory)


_made: dict[str, TinyModel] = {}


def make(name: str, tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    if name not in _made:
        folder = tmp_path_factory.mktemp(name)
        checkpoint = write_checkpoint(folder / "checkpoint", *MODELS[name])
        graph, compiled = compile_checkpoint(checkpoint, folder / "bundle")
        _made[name] = TinyModel(checkpoint, folder / "bundle", graph, compiled)
    return _made[name]
