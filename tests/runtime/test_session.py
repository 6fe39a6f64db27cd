"""The executor on the toy plan: right logits however tokens are cut, a sentence for all refused."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgebit.runtime.library import HeadStatsStruct
from tests.runtime.builders import (
    CHUNK,
    CONTEXT,
    VOCAB,
    Toy,
    ids,
    toy_library,
    toy_library_path,
    toy_logits,
    toy_weights,
)

ARGUMENT, TOKEN, FULL, PROCESS = -1, -2, -3, -5
ARENA, CACHE, SCRATCH, TOKENS, UNKNOWN = 1, 2, 3, 4, 17


def sequence(length: int, seed: int = 1) -> list[int]:
    return random.Random(seed).choices(range(VOCAB), k=length)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    return tmp_path


@pytest.mark.parametrize("threads", range(1, 9))
def test_logits_of_every_token_are_right_with_any_number_of_threads(bundle: Path, threads: int) -> None:
    toy = Toy(bundle, threads)
    tokens = sequence(CONTEXT)
    assert toy.library.eb_threads(toy.session) == threads
    assert toy.evaluate_all(tokens) == toy_logits(tokens)
    toy.close()


@pytest.mark.parametrize(
    "length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2, 2 * CHUNK, 2 * CHUNK + 1, 40]
)
def test_a_prompt_gives_the_logits_of_its_tokens_one_by_one(bundle: Path, length: int) -> None:
    tokens = sequence(length)
    whole, single = Toy(bundle), Toy(bundle)
    assert whole.evaluate(tokens) == 0
    for token in tokens:
        assert single.evaluate([token]) == 0
    assert whole.logits() == single.logits() == toy_logits(tokens)[-1]
    assert whole.position() == single.position() == length


def test_tokens_cut_anywhere_give_the_same_logits(bundle: Path) -> None:
    cuts = random.Random(7)
    for _ in range(20):
        toy, tokens, done = Toy(bundle, cuts.randint(1, 4)), sequence(CONTEXT), 0
        while done < CONTEXT:
            count = min(cuts.randint(1, 2 * CHUNK), CONTEXT - done)
            if cuts.random() < 0.3 and done + count < CONTEXT:
                assert toy.library.eb_append(toy.session, ids(tokens[done : done + count]), count) == 0
                assert toy.logits() is None
            else:
                assert toy.evaluate(tokens[done : done + count]) == 0
                assert toy.logits() == toy_logits(tokens[: done + count])[-1]
            done += count
        toy.close()


def test_a_rewind_forgets_what_came_after(bundle: Path) -> None:
    toy, first, second = Toy(bundle), sequence(20, 1), sequence(20, 2)
    toy.evaluate(first)
    assert toy.rewind(20) == 0
    assert toy.logits() is not None  # nothing forgotten
    assert toy.rewind(7) == 0
    assert (toy.position(), toy.logits()) == (7, None)
    toy.evaluate(second)
    assert toy.logits() == toy_logits(first[:7] + second)[-1]
    for wrong in (-1, 28):
        assert toy.rewind(wrong) == ARGUMENT
        assert toy.sentence() == f"rewind to {wrong}: the context holds 27 tokens"
    assert toy.position() == 27


def test_a_full_context_is_refused_and_nothing_is_appended(bundle: Path) -> None:
    toy, tokens = Toy(bundle), sequence(CONTEXT)
    assert toy.evaluate(tokens[:-2]) == 0
    before = toy.logits()
    assert toy.evaluate(tokens[:3]) == FULL
    assert toy.sentence() == "the context is full: 46 of its 48 tokens are used, 3 more do not fit"
    assert (toy.position(), toy.logits()) == (CONTEXT - 2, before)
    assert toy.evaluate(tokens[-2:]) == 0
    assert toy.evaluate([1]) == FULL
    assert toy.logits() == toy_logits(tokens)[-1]


@pytest.mark.parametrize("wrong", [-1, VOCAB, 2**31 - 1, -(2**31)])
def test_a_token_outside_the_vocabulary_is_refused_by_its_place(bundle: Path, wrong: int) -> None:
    toy = Toy(bundle)
    assert toy.evaluate([1, 2, wrong, 3]) == TOKEN
    assert toy.sentence() == f"token 2 of the call is {wrong}: the vocabulary has ids 0 to 319"
    assert (toy.position(), toy.logits()) == (0, None)


def test_bad_arguments_are_errors(bundle: Path) -> None:
    toy = Toy(bundle)
    library = toy.library
    for count in (0, -1):
        assert library.eb_evaluate(toy.session, ids([1]), count) == ARGUMENT
        assert toy.sentence() == f"{count} tokens to evaluate: expected at least one"
    assert library.eb_evaluate(toy.session, None, 1) == ARGUMENT
    assert library.eb_evaluate(None, ids([1]), 1) == ARGUMENT
    assert library.eb_evaluate_all(toy.session, ids([1]), 1, None) == ARGUMENT
    assert library.eb_sample(toy.session, None) == ARGUMENT
    assert toy.sentence() == "no sampling settings"
    assert not library.eb_open(None, toy.error, 256)
    assert b"null pointer" in toy.error.value
    for threads in (-1, 257):
        assert not library.eb_session_open(toy.model, threads, toy.error, 256)
        assert toy.error.value.decode() == f"{threads} threads: expected 1 to 256, or 0 for one per CPU"
    assert not library.eb_session_open(None, 1, toy.error, 256)
    library.eb_close(None)
    library.eb_session_close(None)


def test_nothing_can_be_sampled_before_an_evaluation(bundle: Path) -> None:
    toy = Toy(bundle)
    assert toy.sample() == ARGUMENT
    assert toy.sentence() == "there are no logits to sample from: evaluate a token first"
    toy.evaluate([3])
    row = toy_logits([3])[0]
    assert toy.sample() == row.index(max(row))
    assert toy.position() == 1
    for wrong in ({"temperature": -1.0}, {"top_k": -1}, {"min_p": 1.5}):
        assert toy.sample(**wrong) == ARGUMENT
        assert toy.sentence() == "temperature, top_k, top_p or min_p is out of range"
    stats = HeadStatsStruct()
    toy.library.eb_session_head_stats(toy.session, stats)
    assert (stats.queries, stats.full_passes) == (0, 1)  # refused before anything was computed


def test_two_sessions_of_one_model_do_not_touch_each_other(bundle: Path) -> None:
    toy, a, b = Toy(bundle), sequence(20, 1), sequence(20, 2)
    other = Toy.__new__(Toy)
    other.library, other.model = toy.library, toy.model
    other.session = toy.library.eb_session_open(toy.model, 3, None, 0)
    for first, second in zip(a, b, strict=True):
        toy.evaluate([first])
        other.evaluate([second])
    assert toy.logits() == toy_logits(a)[-1]
    assert other.logits() == toy_logits(b)[-1]


def test_a_forked_child_is_told_to_open_its_own_session(bundle: Path) -> None:
    toy = Toy(bundle)
    toy.evaluate([1, 2])
    child = os.fork()
    if child == 0:
        refused = toy.evaluate([3]) == PROCESS and "forked" in toy.sentence()
        refused &= toy.logits() is None and toy.sample() == PROCESS  # they need the workers too
        toy.close()  # its workers are not here: must not wait for them
        own = Toy(bundle)
        right = own.evaluate([1, 2, 3]) == 0 and own.logits() == toy_logits([1, 2, 3])[-1]
        os._exit(0 if refused and right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert toy.evaluate([3]) == 0


def test_the_trace_sees_every_step_with_its_results(bundle: Path) -> None:
    toy, seen, last = Toy(bundle, 3), [], CHUNK // 2 - 1  # row of the last token of the second chunk
    hook_type = toy.library.eb_trace.argtypes[1]

    def hook(user: int | None, phase: int, step: int) -> None:
        arena = ctypes.cast(toy.library.eb_space_base(toy.session, ARENA), ctypes.POINTER(ctypes.c_uint32))
        seen.append((phase, step, arena[(CHUNK + last) * 16] if step == 2 else None))

    keep = hook_type(hook)
    toy.library.eb_trace(toy.session, keep, None)
    toy.evaluate(sequence(CHUNK + 1))
    assert seen[-1][:2] == (2, 0)  # logits are made when they are asked for
    toy.logits()
    hidden_of_last = seen[-3][2]
    toy.library.eb_trace(toy.session, hook_type(), None)
    toy.evaluate([1])
    prefill, head = [(1, 0), (1, 1), (1, 2)], [(2, 0), (2, 1)]
    assert [entry[:2] for entry in seen] == prefill + prefill + head  # two chunks of about the same size
    assert toy_logits(sequence(CHUNK + 1))[-1][0] == float((hidden_of_last * 31 + CHUNK) % 2**32 % 1009)


def test_spaces_are_aligned_to_cache_lines(bundle: Path) -> None:
    toy = Toy(bundle)
    for space in range(5):
        assert toy.library.eb_space_base(toy.session, space) % 64 == 0
    for unknown in (5, UNKNOWN, -1, 255):
        assert toy.library.eb_space_base(toy.session, unknown) is None


def test_facts_of_the_model(bundle: Path) -> None:
    toy = Toy(bundle)
    info = toy.library.eb_info.argtypes[1]._type_()
    toy.library.eb_info(toy.model, info)
    assert (info.vocab_size, info.context, info.chunk) == (VOCAB, CONTEXT, CHUNK)
    assert (info.weights_bytes, info.cache_bytes, info.scratch_bytes) == (len(toy_weights()), 4 * CONTEXT, 20)


def test_text_calls_of_a_model_without_tokenizer_are_errors(bundle: Path) -> None:
    toy = Toy(bundle)
    assert toy.library.eb_tokenize(toy.model, b"x", 1, 0, None, 0) == -4
    assert toy.library.eb_token_bytes(toy.model, 1, None, 0) == -4
    assert toy.library.eb_is_stop(toy.model, 1) == toy.library.eb_is_special(toy.model, 1) == 0
    assert toy.library.eb_chat_tokens(toy.model, None, None, 0, 1, None, 0, toy.error, 256) == -4
    assert toy.error.value == b"this model has no tokenizer"


# ---- opening -------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    error = ctypes.create_string_buffer(512)
    assert not toy_library().eb_open(str(folder).encode(), error, 512)
    return error.value.decode().replace(str(folder) + "/", "")


SIZE = len(toy_weights())
OTHER_MODEL = "weights.bin is damaged or of another model"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            toy_weights(magic=b"EDGEBITX"),
            "weights.bin is not a weights file: it does not begin with EDGEBITW",
        ),
        (toy_weights(version=2), "weights.bin has format 2, this runtime reads format 1"),
        (
            toy_weights(first_id_byte=9),
            "weights.bin belongs to another model than libmodel.so: compile both together",
        ),
        (toy_weights()[:-1], f"{OTHER_MODEL}: {SIZE - 1} bytes, expected {SIZE}"),
        (toy_weights() + b"x", f"{OTHER_MODEL}: {SIZE + 1} bytes, expected {SIZE}"),
        (toy_weights(spare=1), f"{OTHER_MODEL}: {SIZE} bytes, expected {SIZE}"),
        (
            toy_weights(spare=1) + b"x",
            f"{OTHER_MODEL}: {SIZE + 1} bytes, expected {SIZE}",
        ),
        (toy_weights()[:63], "weights.bin is damaged: 63 bytes, too short for a header"),
        (b"", "weights.bin is damaged: 0 bytes, too short for a header"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, weights: bytes, sentence: str) -> None:
    (tmp_path / "weights.bin").write_bytes(weights)
    assert refusal(tmp_path) == sentence


def test_a_missing_weights_file_and_a_damaged_tokenizer_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "weights.bin cannot be read"
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    (tmp_path / "tokenizer.bin").write_bytes(b"not a tokenizer")
    assert refusal(tmp_path).startswith("tokenizer.bin: ")


def test_garbled_headers_never_crash(tmp_path: Path) -> None:
    chance, good = random.Random(3), toy_weights()
    for _ in range(200):
        garbled = bytearray(good[: chance.randrange(len(good) + 1)])
        for _ in range(chance.randint(1, 8)):
            if garbled:
                garbled[chance.randrange(min(64, len(garbled)))] ^= 1 << chance.randrange(8)
        (tmp_path / "weights.bin").write_bytes(garbled)
        model = toy_library().eb_open(str(tmp_path).encode(), None, 0)
        assert not model or bytes(garbled[:56]) == good[:56] or garbled[12:16] != good[12:16]
        toy_library().eb_close(model)


def test_errors_are_cut_to_the_callers_buffer(tmp_path: Path) -> None:
    for size in (0, 1, 2, 10):
        error = ctypes.create_string_buffer(b"\x7f" * 20, 20)
        assert not toy_library().eb_open(str(tmp_path).encode(), error, size)
        assert error.raw[size:] == b"\x7f" * (20 - size)
        assert size == 0 or error.raw[:size].rstrip(b"\0").isascii()


def test_a_read_only_folder_and_another_working_directory(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle / "weights.bin").chmod(0o444)
    bundle.chmod(0o555)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    toy = Toy(Path(os.path.relpath(bundle)))
    assert toy.evaluate([5]) == 0
    bundle.chmod(0o755)


CHILD = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from tests.runtime.builders import Toy, toy_logits
toy = Toy(pathlib.Path(sys.argv[1]))
for _ in range(200):
    toy.rewind(0)
    toy.evaluate([1, 2, 3, 4, 5, 6, 7, 8])
    assert toy.logits() == toy_logits([1, 2, 3, 4, 5, 6, 7, 8])[-1]
"""


def test_two_processes_share_a_bundle(bundle: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "EDGEBIT_TOY_LIBRARY": str(toy_library_path())}
    command = [sys.executable, "-c", CHILD, str(bundle), str(root)]
    children = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
