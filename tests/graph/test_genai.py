"""Exported folders in onnxruntime-genai, by the genai_config.json beside the graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime_genai as genai
import pytest

import edgebit
from edgebit.graph import load, save
from edgebit.pipeline import FLAVORS
from tests.builders import GROUPED, write_checkpoint
from tests.graph.running import Runner
from tests.reference import Floats, divergence

IDS = np.random.default_rng(5).integers(0, GROUPED.vocab_size, 40)
PROMPT = 23  # the rest is appended token by token


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("genai") / "model", "packed", GROUPED)


@pytest.fixture(scope="module", params=FLAVORS)
def exported(request: pytest.FixtureRequest, checkpoint: Path) -> Path:
    return edgebit.export(checkpoint, checkpoint.with_name(request.param), flavor=request.param).parent


def teacher_forced(folder: Path) -> Floats:
    """Logits of every token: a prompt, then one token after the other."""
    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(IDS) + 1)
    generator = genai.Generator(model, parameters)
    found = []
    for part in (IDS[:PROMPT], *IDS[PROMPT:, None]):
        generator.append_tokens(part[None].astype(np.int32))
        found.append(generator.get_output("logits")[0])
    return np.concatenate(found)


def test_its_logits_are_those_of_onnxruntime(exported: Path) -> None:
    runner = Runner(exported)
    cache = runner.start()
    expected = [runner.step(part[None], cache)[0] for part in (IDS[:PROMPT], *IDS[PROMPT:, None])]
    assert (teacher_forced(exported) == np.concatenate(expected)).all()


def test_its_logits_are_near_those_of_the_bundle(exported: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Both flavors compile to the weights of the checkpoint, so both bundles answer alike."""
    bundle = edgebit.load(edgebit.compile(exported, "host", tmp_path / "bundle"))
    logits = np.asarray(bundle.logits(IDS.tolist()))
    assert divergence(logits, teacher_forced(exported)) < (1e-3 if exported.name == "edgebit" else 0.02)


def test_its_tokenizer_reads_the_one_beside_the_graph(exported: Path, checkpoint: Path) -> None:
    tokenizer = genai.Tokenizer(genai.Model(str(exported)))
    ids = tokenizer.encode("the quick brown fox").tolist()
    assert tokenizer.decode(ids) == "the quick brown fox"


def test_the_file_says_what_the_model_is_and_is_written_again(exported: Path, tmp_path: Path) -> None:
    written = json.loads((exported / "genai_config.json").read_text())["model"]
    decoder = written["decoder"]
    assert (decoder["num_hidden_layers"], decoder["num_attention_heads"]) == (GROUPED.layers, GROUPED.heads)
    assert (decoder["num_key_value_heads"], decoder["head_size"]) == (1, GROUPED.head_size)
    assert (decoder["hidden_size"], written["vocab_size"]) == (GROUPED.hidden_size, GROUPED.vocab_size)
    assert written["context_length"] == GROUPED.positions
    assert written["eos_token_id"] == list(load(exported).metadata.stop_token_ids)
    again = save(load(exported), tmp_path / "again")
    assert (again / "genai_config.json").read_bytes() == (exported / "genai_config.json").read_bytes()
