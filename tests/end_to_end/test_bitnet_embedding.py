"""Bundles of microsoft/bitnet-embedding-*: vectors against torch, and a GGUF file gives the same bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgebit
from edgebit.bundle.writer import Untested, write
from edgebit.compiler.compile import compile_graph
from edgebit.graph import build
from edgebit.host_library import this_machine
from edgebit.model import Overrides, open_checkpoint
from edgebit.pipeline import text_table_of
from tests.encoders import NEAR, TEXTS, cosines, tokens_of, write_encoder, write_gguf_of
from tests.gguf_files import I2_S


def compile_here(checkpoint: Path, folder: Path, pooling: str | None = None) -> Path:
    """A bundle with the best kernels of this machine alone."""
    graph = build(open_checkpoint(checkpoint, Overrides(pooling=pooling)))
    return write(compile_graph(graph, this_machine()), text_table_of(graph), folder, Untested())


@pytest.mark.parametrize(("name", "pooling"), [("qwen3", "last"), ("gemma3", "mean")])
def test_vectors_are_those_of_torch(name: str, pooling: str, tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", name)
    bundle = compile_here(checkpoint, tmp_path / "bundle", pooling)
    with edgebit.load(bundle) as model:
        found = np.array(model.embed(TEXTS))
    texts = tokens_of(checkpoint, TEXTS)
    assert min(cosines(checkpoint, found, texts, pooling)) >= NEAR
    other = "mean" if pooling == "last" else "last"
    assert max(cosines(checkpoint, found, texts, other)) < NEAR


def test_a_gguf_file_gives_the_bundle_of_its_original(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "model", "qwen3", "lasttoken")
    expected = compile_here(checkpoint, tmp_path / "original")
    made = compile_here(write_gguf_of(checkpoint, I2_S), tmp_path / "bundle")
    for name in ("weights.bin", "libmodel.so", "tokenizer.bin"):
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name
