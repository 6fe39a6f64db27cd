"""One toy bundle for all tests of the Python side; copies of it to break."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from edgebit.runtime.model import Model
from tests.runtime.builders import toy_weights
from tests.runtime.toy_bundle import followers, write_toy_bundle


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture
def bundle_copy(toy_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy_bundle, tmp_path / "bundle")


OpenToy = Callable[..., Model]


@pytest.fixture
def open_toy(toy_bundle: Path, tmp_path: Path) -> Iterator[OpenToy]:
    """Opens a model that answers as its followers say; unchecked, for the manifest knows one weights.bin."""
    opened = []

    def open_with(table: Mapping[int, int] | None = None, threads: int | None = 2) -> Model:
        folder = tmp_path / f"model-{len(opened)}"
        shutil.copytree(toy_bundle, folder)
        (folder / "weights.bin").write_bytes(toy_weights(followers=followers() if table is None else table))
        opened.append(Model(folder, threads))
        return opened[-1]

    yield open_with
    for model in opened:
        model.close()
