"""A model that makes embeddings, end to end: its vectors, their bits, the programs, and who may call what."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from tokenizers import Tokenizer

import edgebit
from edgebit.bundle import parse_manifest
from edgebit.errors import UsageError
from edgebit.model import Overrides
from edgebit.runtime import ContextFullError, RuntimeModelError
from edgebit.runtime.bench import Options, bench
from edgebit.runtime.doctor import examine
from tests.builders import END_OF_TEXT, append_eos, write_checkpoint, write_pooling
from tests.encoders import printed_bits
from tests.end_to_end.bundles import session
from tests.end_to_end.conftest import TinyModel
from tests.reference import transformers_states

POOLINGS = ("last", "mean")
SHORT, LONG = "turn on the lights", "the quick brown fox jumps over the lazy dog; " * 7
TEXTS = ["a", SHORT, "Zürich, 東京 & Αθήνα: 🙂", LONG]  # the last one is longer than a chunk of 96 tokens


@dataclass(frozen=True)
class Encoder:
    pooling: str
    checkpoint: Path
    bundle: Path

    @property
    def texts(self) -> list[list[int]]:
        """Tokens of TEXTS as the tokenizers library has them, what its post-processor adds included."""
        tokenizer = Tokenizer.from_file(str(self.checkpoint / "tokenizer.json"))
        return [tokenizer.encode(text).ids for text in TEXTS]


def write_encoder(folder: Path) -> Path:
    """A decoder whose tokenizer ends texts; nothing says that it makes embeddings."""
    checkpoint = write_checkpoint(folder, "packed")
    append_eos(checkpoint, END_OF_TEXT)
    return checkpoint


_made: dict[str, Encoder] = {}


@pytest.fixture(scope="module", params=POOLINGS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return made(request.param, tmp_path_factory)


def made(pooling: str, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    if pooling not in _made:
        folder = tmp_path_factory.mktemp(pooling)
        checkpoint = write_encoder(folder / "model")
        said = Overrides(pooling=pooling)
        if pooling == "last":  # its files say it, the other one a person
            write_pooling(checkpoint, "lasttoken", "Normalize")
            said = Overrides()
        bundle = edgebit.compile(checkpoint, "host", folder / "bundle", overrides=said)
        _made[pooling] = Encoder(pooling, checkpoint, bundle)
    return _made[pooling]


def pooled(states: npt.NDArray[np.float32], pooling: str) -> npt.NDArray[np.float32]:
    vector = states[-1] if pooling == "last" else states.mean(axis=0)
    return np.asarray(vector / np.linalg.norm(vector))


# ---- the vectors -------------------------------------------------------------------------------------


def test_embeddings_are_those_of_transformers(encoder: Encoder) -> None:
    """Its last hidden states, pooled here; another pooling, or no end token, is noticed."""
    with edgebit.load(encoder.bundle) as model:
        found = np.array(model.embed(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    other = "mean" if encoder.pooling == "last" else "last"
    for vector, ids in zip(found, encoder.texts, strict=True):
        states = transformers_states(encoder.checkpoint, ids)
        assert vector @ pooled(states, encoder.pooling) >= 0.9995
        assert vector @ pooled(states, other) < 0.99
        if len(ids) < 20:  # one of many states hardly moves their mean
            assert vector @ pooled(states[:-1], encoder.pooling) < 0.9995


def test_tokens_are_those_of_the_tokenizer_and_its_post_processor(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = parse_manifest((encoder.bundle / "manifest.json").read_text()).self_test
    tokenizer = Tokenizer.from_file(str(encoder.checkpoint / "tokenizer.json"))
    assert [sample.tokens for sample in samples] == [
        tokenizer.encode(sample.prompt).ids for sample in samples
    ]
    assert samples[0].tokens[-1] == tokenizer.token_to_id(END_OF_TEXT)


def test_plain_onnxruntime_gives_them_too_with_padding_on_either_side(
    encoder: Encoder, tmp_path: Path
) -> None:
    path = edgebit.export(
        encoder.checkpoint, tmp_path / "graph", overrides=Overrides(pooling=encoder.pooling)
    )
    runner = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in runner.get_outputs()] == ["embedding"]
    with edgebit.load(encoder.bundle) as model:
        expected = np.array(model.embed(TEXTS))
    longest = max(map(len, encoder.texts))
    for left in (True, False):
        ids, mask = (np.zeros((len(TEXTS), longest), np.int64) for _ in range(2))
        for row, tokens in enumerate(encoder.texts):
            place = slice(longest - len(tokens), longest) if left else slice(len(tokens))
            ids[row, place], mask[row, place] = tokens, 1
        positions = np.maximum(mask.cumsum(1) - 1, 0)
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        (found,) = runner.run(None, feeds)
        assert (np.sum(np.asarray(found) * expected, axis=1) >= 0.9995).all()


def test_texts_do_not_know_of_each_other(encoder: Encoder) -> None:
    with edgebit.load(encoder.bundle) as model:
        together = model.embed(TEXTS)
        assert model.embed(reversed(TEXTS))[::-1] == together  # type: ignore[arg-type]
        assert [model.embed(text)[0] for text in TEXTS] == together
        assert model.embed([]) == []


def test_threads_and_tiers_do_not_change_a_bit(encoder: Encoder) -> None:
    _, expected = printed_bits(sys.executable, TEXTS, encoder.bundle)
    for threads in (2, 3):
        assert printed_bits(sys.executable, TEXTS, encoder.bundle, threads)[1] == expected
    tiers = [run.tier for run in examine(encoder.bundle).runs]
    assert "sse2" in tiers or "neon" in tiers
    for tier in tiers:
        assert printed_bits(sys.executable, TEXTS, encoder.bundle, 2, EDGEBIT_TIER=tier) == [tier, expected]


# ---- bundles -----------------------------------------------------------------------------------------


def test_a_bundle_says_what_it_is_for(encoder: Encoder, packed: TinyModel) -> None:
    manifest = parse_manifest((encoder.bundle / "manifest.json").read_text())
    assert manifest.task == "embed" and manifest.model["pooling"] == encoder.pooling
    said = ["pooling mean"] if encoder.pooling == "mean" else None
    assert manifest.model.get("overrides") == said and manifest.memory["logits"] == 0
    assert (encoder.bundle / "embed.py").is_file() and not (encoder.bundle / "chat.py").exists()
    assert parse_manifest((packed.bundle / "manifest.json").read_text()).task == "generate"
    assert "embed.py" in (encoder.bundle / "README.md").read_text()


def test_the_graph_and_the_checkpoint_give_the_same_bundle(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    encoder = made("last", tmp_path_factory)
    edgebit.export(encoder.checkpoint, tmp_path / "graph")
    again = edgebit.compile(tmp_path / "graph", "host", tmp_path / "again")
    for path in encoder.bundle.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(encoder.bundle)).read_bytes(), path


def test_the_doctor_finds_another_embedding(encoder: Encoder, tmp_path: Path) -> None:
    assert not examine(encoder.bundle).faults
    program = encoder.bundle / "edgebit-run"
    right = subprocess.run([program, "--doctor"], capture_output=True, text=True, check=False)
    assert right.returncode == 0 and "\nright: the model computes here, bit for bit" in right.stdout
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(encoder.bundle), str(copy)], check=True)
    manifest = parse_manifest((copy / "manifest.json").read_text())
    object.__setattr__(manifest.self_test[1], "embedding_sha256", "0" * 64)
    (copy / "manifest.json").write_text(manifest.to_json())
    fault = "sha256 of the embedding is"
    assert fault in examine(copy).verdict
    wrong = subprocess.run([copy / "edgebit-run", "--doctor"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and fault in wrong.stdout


def test_the_programs_print_the_same_vectors(encoder: Encoder) -> None:
    with edgebit.load(encoder.bundle) as model:
        expected = [list(vector) for vector in model.embed([SHORT, LONG])]
    python, native = [sys.executable, str(encoder.bundle / "embed.py")], [str(encoder.bundle / "edgebit-run")]
    lines = f"{SHORT}\n{LONG}\r\n"
    runs = [([*python, SHORT, LONG], ""), (python, lines), (native, lines)]
    for command, given in runs:
        result = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        vectors = [np.array(json.loads(line), np.float32).tolist() for line in result.stdout.splitlines()]
        assert vectors == expected, command
    one = subprocess.run([*native, "-p", SHORT], capture_output=True, text=True, check=True)
    other = subprocess.run([*python, SHORT], capture_output=True, text=True, check=True)
    assert one.stdout == other.stdout


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edgebit.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_knows_what_a_bundle_is_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = made("mean", tmp_path_factory).bundle
    with edgebit.load(bundle) as model:
        expected = list(model.embed([SHORT])[0])
    said = cli("run", bundle, SHORT)
    assert np.array(json.loads(said.stdout), np.float32).tolist() == expected and not said.stderr
    facts = " ".join(cli("inspect", bundle).stdout.split())
    assert "pooling mean" in facts and "task embed" in facts
    for refused, reason in (
        (cli("run", bundle, SHORT, "--temperature", "1"), "options of answers are not for it"),
        (cli("chat", bundle, "--prompt", SHORT), "makes embeddings and does not answer: call embed(texts)"),
        (cli("bench", bundle, "--decode", "3"), "this model makes embeddings, there is nothing to decode"),
        (cli("bench", bundle, "--prefill", "300"), "--prefill 300: the context holds 256: ask for less"),
    ):
        assert refused.returncode == 1 and reason in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_the_program_refuses_options_of_answers(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = made("mean", tmp_path_factory).bundle / "edgebit-run"
    for options, status in ((["--temperature", "1"], 2), (["--max-tokens", "3"], 2)):
        command = [program, "-p", SHORT, *options]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == status and "this model makes embeddings" in result.stderr
        assert not result.stdout


def test_bench_times_the_embedding_of_a_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = made("mean", tmp_path_factory).bundle
    report = bench(
        bundle, Options(threads=2, repeat=3, prefill=40, profile=True), lambda text: None
    ).as_json()
    embed, profile = report["embed"], report["profile"]["embed"]
    assert embed["tokens"] == 40 and embed["tokens_per_second"] == pytest.approx(40e3 / embed["ms"])
    assert profile["tokens"] == 40 * embed["calls_per_repetition"] and profile["outside"] > 0
    assert {step["kernel"] for step in profile["steps"]} >= {"embedding", "rmsnorm_quantize"}
    said = subprocess.run(
        [bundle / "edgebit-run", "--bench", "--prefill", "40"], capture_output=True, text=True, check=True
    )
    assert "embed, 40 tokens" in said.stdout and "tokens/s" in said.stdout


# ---- what a model is not for ---------------------------------------------------------------------------


def test_an_encoder_does_not_answer(encoder: Encoder) -> None:
    with edgebit.load(encoder.bundle) as model:
        for call in (
            lambda: model.chat([{"role": "user", "content": "hi"}]),
            lambda: model.generate("hi"),
            lambda: model.logits([1]),
        ):
            with pytest.raises(RuntimeModelError, match=r"makes embeddings and does not answer: call embed"):
                call()


def test_a_decoder_embeds_nothing(packed: TinyModel) -> None:
    with (
        edgebit.load(packed.bundle) as model,
        pytest.raises(RuntimeModelError, match=r"makes no embeddings: .*--pooling last or mean"),
    ):
        model.embed([SHORT])


def test_texts_that_cannot_be_embedded_are_one_line(encoder: Encoder) -> None:
    with edgebit.load(encoder.bundle) as model:
        with pytest.raises(ContextFullError, match=r"a text has .* tokens, the context holds 256: cut it"):
            model.embed(["x " * 300])
        assert len(model.embed([SHORT])[0]) == model.info.hidden_size


@pytest.fixture
def handles(encoder: Encoder, packed: TinyModel) -> Iterator[list[tuple[ctypes.CDLL, int]]]:
    with session(encoder.bundle) as first, session(packed.bundle) as second:
        yield [(library, int(handle)) for library, handle in (first, second)]  # type: ignore[call-overload]


def test_the_c_interface_tells_tasks_apart(handles: list[tuple[ctypes.CDLL, int]]) -> None:
    (encoding, encoder), (decoding, decoder) = handles
    ids, vector = (ctypes.c_int32 * 2)(1, 2), (ctypes.c_float * 4096)()
    task, argument = -6, -1
    assert encoding.eb_embed(encoder, ids, 2, vector) == 0
    assert encoding.eb_embed(encoder, ids, 0, vector) == argument
    for call in (encoding.eb_evaluate, encoding.eb_append):
        assert call(encoder, ids, 2) == task
        assert b"makes embeddings: it does not continue text" in encoding.eb_session_error(encoder)
    assert encoding.eb_position(encoder) == 0 and not encoding.eb_logits(encoder)
    assert decoding.eb_embed(decoder, ids, 2, vector) == task
    assert b"makes no embeddings" in decoding.eb_session_error(decoder)


@pytest.mark.parametrize("choice", [{"head": "full"}, {"kv": "int8"}])
def test_choices_of_decoders_are_refused(choice: dict[str, str], tmp_path: Path) -> None:
    checkpoint = write_pooling(write_encoder(tmp_path / "model"), "lasttoken")
    with pytest.raises(UsageError, match="is for models that answer; this one makes embeddings"):
        edgebit.compile(checkpoint, "host", tmp_path / "bundle", **choice)  # type: ignore[arg-type]
    assert not (tmp_path / "bundle").exists()
