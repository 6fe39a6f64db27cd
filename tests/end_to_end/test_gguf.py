"""A GGUF file compiles into what its Hugging Face original compiles into."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgebit
from tests.builders import Shape, write_checkpoint
from tests.gguf_files import I2_S, Kinds, Recipe, write_gguf

SHAPE = Shape(hidden_size=256, intermediate_size=512, heads=4, key_value_heads=2)
SAME = ("weights.bin", "libmodel.so", "tokenizer.bin")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    checkpoint = write_checkpoint(folder / "model", "packed", SHAPE)
    return checkpoint, edgebit.compile(checkpoint, "host", folder / "bundle")


@pytest.mark.parametrize("kind", [Kinds.TQ2_0, Kinds.TQ1_0, I2_S], ids=["TQ2_0", "TQ1_0", "I2_S"])
def test_a_gguf_file_gives_the_weights_library_and_text_of_its_original(
    original: tuple[Path, Path], kind: int, tmp_path: Path
) -> None:
    checkpoint, expected = original
    path = write_gguf(checkpoint, checkpoint / f"model-{kind}.gguf", Recipe(projections=kind))
    made = edgebit.compile(path, "host", tmp_path / "bundle")
    for name in SAME:
        assert (made / name).read_bytes() == (expected / name).read_bytes(), name
    prompt = "turn on the lights"
    ours, theirs = edgebit.load(made, threads=1), edgebit.load(expected, threads=1)
    tokens = theirs.tokenize(prompt)
    assert ours.tokenize(prompt) == tokens
    assert bytes(ours.logits(tokens)) == bytes(theirs.logits(tokens))
