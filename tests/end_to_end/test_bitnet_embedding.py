"""Bundles of microsoft/bitnet-embedding-*: vectors against torch, and a GGUF file gives the same bundle."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import edgebit
from edgebit.bundle.writer import Untested, write
from edgebit.compiler.compile import compile_graph
from edgebit.compiler.target import Target, load_target
from edgebit.graph import build
from edgebit.host_library import this_machine
from edgebit.model import Overrides, open_checkpoint
from edgebit.pipeline import text_table_of
from tests.encoders import NEAR, TEXTS, cosines, printed_bits, tokens_of, write_encoder, write_gguf_of
from tests.gguf_files import I2_S


def compile_for(checkpoint: Path, folder: Path, target: Target, pooling: str | None = None) -> Path:
    graph = build(open_checkpoint(checkpoint, Overrides(pooling=pooling)))
    return write(compile_graph(graph, target), text_table_of(graph), folder, Untested())


def compile_here(checkpoint: Path, folder: Path, pooling: str | None = None) -> Path:
    """A bundle with the best kernels of this machine alone."""
    return compile_for(checkpoint, folder, this_machine(), pooling)


POOLED = {"qwen3": "last", "gemma3": "mean"}


@pytest.fixture(scope="module", params=list(POOLED))
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Its pooling, and a folder with ``model`` and ``bundle``."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    compile_here(write_encoder(folder / "model", name), folder / "bundle", POOLED[name])
    return POOLED[name], folder


def test_vectors_are_those_of_torch(encoder: tuple[str, Path]) -> None:
    pooling, folder = encoder
    checkpoint, bundle = folder / "model", folder / "bundle"
    with edgebit.load(bundle) as model:
        found = np.array(model.embed(TEXTS))
    texts = tokens_of(checkpoint, TEXTS)
    assert min(cosines(checkpoint, found, texts, pooling)) >= NEAR
    other = "mean" if pooling == "last" else "last"
    assert max(cosines(checkpoint, found[1:], texts[1:], other)) < NEAR


@pytest.mark.slow
@pytest.mark.arm
def test_arm_gives_the_bits_of_this_machine(
    encoder: tuple[str, Path], arm_python: Path, tmp_path: Path
) -> None:
    pooling, folder = encoder
    _, expected = printed_bits(sys.executable, TEXTS, folder / "bundle")
    bundle = compile_for(folder / "model", tmp_path / "arm", load_target("arm64"), pooling)
    for cpu, tier in {"cortex-a72": "neon", "cortex-a76": "dotprod", "max": "i8mm"}.items():
        assert printed_bits(str(arm_python), TEXTS, bundle, 2, EB_CPU=cpu) == [tier, expected]


def test_a_gguf_file_gives_the_bundle_of_its_original(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", "qwen3", "lasttoken")
    expected = compile_here(checkpoint, tmp_path / "original")
    made = compile_here(write_gguf_of(checkpoint, I2_S), tmp_path / "bundle")
    for name in ("weights.bin", "libmodel.so", "tokenizer.bin"):
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name
