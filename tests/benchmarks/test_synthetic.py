"""The synthetic checkpoints are what transformers, `tokenizers` and edgebit take for a 2B-4T model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import BitNetConfig, BitNetForCausalLM

from benchmarks.synthetic.__main__ import main
from benchmarks.synthetic.architecture import ARCHITECTURES, Architecture
from benchmarks.synthetic.tokenizer import tokenizer_files
from benchmarks.synthetic.writer import write_checkpoint
from edgebit.bundle.text import build_text_table
from edgebit.errors import UsageError
from edgebit.model import open_checkpoint
from edgebit.model.ternary import unpack_codes
from edgebit.pipeline import compile_bundle
from edgebit.runtime import load

FULL = ARCHITECTURES["2b4t"]
SMALL = replace(FULL, num_hidden_layers=2, vocab_size=1024)
SMALLEST = replace(FULL, num_hidden_layers=1, vocab_size=512)
TEXTS = (
    "Hello world, it's 12345 degrees!",
    "def f(x):\n    return  x ** 2\r\n\n",
    "größer 日本語 🙂\u200d\n\t '  \x00 ǅ",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("synthetic") / "small", SMALL)


def expected_tensors(architecture: Architecture) -> dict[str, tuple[str, list[int]]]:
    """What transformers would save: its parameters, with the projections packed as SPEC 1.4 says."""
    values = architecture.config()
    del values["quantization_config"]  # would pack them for itself, in a way that depends on the version
    with torch.device("meta"):
        model = BitNetForCausalLM(BitNetConfig(**values))
    tensors: dict[str, tuple[str, list[int]]] = {}
    for name, parameter in model.named_parameters():  # the tied head is named once, as the embedding
        shape = list(parameter.shape)
        if name.endswith("_proj.weight"):
            tensors[name] = ("U8", [shape[0] // 4, shape[1]])
            tensors[f"{name}_scale"] = ("BF16", [1])
        else:
            tensors[name] = ("BF16", shape)
    return tensors


def test_full_size_has_the_tensors_and_bytes_of_the_published_file() -> None:
    entries = FULL.tensors()
    assert {entry.name: (entry.dtype, list(entry.shape)) for entry in entries} == expected_tensors(FULL)
    assert len(entries) == 542
    assert sum(entry.size for entry in entries) == 1_178_562_980


def test_files_hold_what_transformers_expects(checkpoint: Path) -> None:
    with safe_open(checkpoint / "model.safetensors", "numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        found = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    assert found == expected_tensors(SMALL)
    values = json.loads((checkpoint / "config.json").read_text())
    assert BitNetConfig(**values).to_dict()["num_hidden_layers"] == SMALL.num_hidden_layers


def test_weights_are_plausible(checkpoint: Path) -> None:
    model = open_checkpoint(checkpoint)
    for layer in range(SMALL.num_hidden_layers):
        for name in FULL.projections:
            projection = model.projection(f"model.layers.{layer}.{name}")
            zeros = float((unpack_codes(projection.packed()) == 0).mean())
            assert 0.39 < zeros < 0.46
            assert 1.0 < float(projection.scale) < 2.5
    rows = model.bfloat16_rows("model.embed_tokens.weight").astype(np.float32)
    norms = np.linalg.norm(rows, axis=1)
    assert 2.9 < float(np.median(norms)) < 3.4
    assert 0.14 < float(np.log(norms).std()) < 0.24
    mean = rows.mean(axis=0)
    outliers = np.abs(mean) > 5 * np.sqrt(np.mean(mean**2)) / 2
    assert outliers.sum() == 8


@pytest.mark.slow
def test_compiles_and_answers_variously(checkpoint: Path, tmp_path: Path) -> None:
    bundle = compile_bundle(checkpoint, "host", tmp_path / "bundle", 128)
    with load(bundle) as engine:
        ids = engine.tokenize("turn on the kitchen light, then say what the weather is like")
        logits = np.array(engine.logits(ids), np.float32)
        assert len("".join(engine.generate(ids, max_tokens=16))) > 0
    assert logits.shape == (len(ids), SMALL.vocab_size)
    assert np.isfinite(logits).all()
    assert 1 < float(logits.std()) < 8
    assert len(set(logits.argmax(axis=1).tolist())) > len(ids) // 4


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "first", SMALLEST, seed=3)
    second = write_checkpoint(tmp_path / "second", SMALLEST, seed=3)
    other = write_checkpoint(tmp_path / "other", SMALLEST, seed=4)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    weights = "model.safetensors"
    assert (first / weights).read_bytes() != (other / weights).read_bytes()


def check_tokenizer(content: bytes, vocab_size: int) -> None:
    tokenizer = Tokenizer.from_str(content.decode())
    first = vocab_size - 256
    assert tokenizer.get_vocab_size() == vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(vocab_size))
    named = {"<|begin_of_text|>": 0, "<|end_of_text|>": 1, "<|reserved_special_token_0|>": 2}
    named |= {"<|start_header_id|>": 6, "<|end_header_id|>": 7, "<|reserved_special_token_4|>": 8}
    named |= {"<|eot_id|>": 9, "<|reserved_special_token_5|>": 10, "<|reserved_special_token_250|>": 255}
    assert {name: tokenizer.token_to_id(name) for name in named} == {
        name: first + offset for name, offset in named.items()
    }
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        assert encoding.ids[0] == first
        assert tokenizer.decode(encoding.ids) == text
    assert build_text_table(content, None, first, (first + 1, first + 9))


def test_tokenizer_of_the_small_model(checkpoint: Path) -> None:
    check_tokenizer((checkpoint / "tokenizer.json").read_bytes(), SMALL.vocab_size)


@pytest.mark.slow
def test_tokenizer_of_full_size() -> None:
    files = tokenizer_files(FULL.vocab_size)
    check_tokenizer(files["tokenizer.json"], 128256)
    assert json.loads(files["generation_config.json"])["eos_token_id"] == [128001, 128009]
    merges = json.loads(files["tokenizer.json"])["model"]["merges"]
    assert len(merges) == 128256 - 256 - 256


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.synthetic", *arguments])
    main()


SMALLEST_OPTIONS = ("--layers", "1", "--vocab", "512")


def test_an_earlier_checkpoint_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    sizes = []
    for vocab in ("512", "640"):
        with pytest.raises(SystemExit) as exit_:
            run(monkeypatch, "2b4t", str(folder), "--layers", "1", "--vocab", vocab)
        assert not exit_.value.code
        sizes.append((folder / "model.safetensors").stat().st_size)
    assert sizes[1] > sizes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["9b", "new"], "known are 2b4t"),
        (["2b4t", "file", *SMALLEST_OPTIONS], "is not a folder"),
        (["2b4t", "foreign", *SMALLEST_OPTIONS], "is not a synthetic checkpoint"),
        (["2b4t", "real", *SMALLEST_OPTIONS], "is not a synthetic checkpoint"),
        (["2b4t", "file/below", *SMALLEST_OPTIONS], "file: File exists"),
    ],
)
def test_refusals_are_one_line_and_leave_everything(
    arguments: Sequence[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    for name in ("foreign", "real"):
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps(FULL.config()))
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    Path("real", "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, *arguments)
    assert exit_.value.code == 1
    message = capsys.readouterr().err
    assert reason in message
    assert message.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_library_refuses_as_the_command_does(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(UsageError, match="not a synthetic checkpoint"):
        write_checkpoint(tmp_path, SMALLEST)
