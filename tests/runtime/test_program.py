"""edgebit-run, the static executable of a bundle: it says what chat.py says, without Python."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.terminal import Terminal
from tests.runtime.toy_bundle import ANSWER

HELP = "/reset  forget the conversation\n"


def run(
    bundle: Path, *arguments: str, given: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(bundle / "edgebit-run"), *arguments],
        cwd="/",
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_one_answer_and_out(toy_bundle: Path) -> None:
    result = run(toy_bundle, "-p", "hi")
    assert (result.returncode, result.stdout, result.stderr) == (0, ANSWER + "\n", "")


def test_it_runs_from_anywhere_on_any_bundle(toy_bundle: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(toy_bundle / "edgebit-run", tmp_path))
    alone = subprocess.run([str(program), "-p", "hi"], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stderr) == (1, f"edgebit: {tmp_path}/weights.bin cannot be read\n")
    named = subprocess.run(
        [str(program), str(toy_bundle), "--prompt=hi"], capture_output=True, text=True, check=False
    )
    assert named.stdout == ANSWER + "\n"


def test_a_prompt_is_continued_without_the_chat_format(toy_bundle: Path) -> None:
    assert run(toy_bundle, "-p", "é", "--raw").stdout == ANSWER[1:] + "\n"


def test_messages_come_from_a_pipe_line_by_line(toy_bundle: Path) -> None:
    result = run(toy_bundle, given="hi\n\n/reset\nhi\n/nonsense\n/exit\nnever\n")
    assert result.stdout == f"{ANSWER}\n{ANSWER}\n"
    assert result.stderr == "/nonsense is not a command; /help shows them\n"
    assert result.returncode == 0
    assert run(toy_bundle, given="/help").stdout.startswith(HELP)


def test_options_reach_the_model(toy_bundle: Path) -> None:
    result = run(toy_bundle, "-p", "hi", "--max-tokens", "5", "--stats", "--threads", "1", "--system", "x")
    assert result.stdout == "é€\n"
    assert result.stderr.startswith("prompt 7 tokens at ")
    sampled = [run(toy_bundle, "-p", "hi", "--temperature", "900", "--seed", seed).stdout for seed in "112"]
    assert sampled[0] == sampled[1] != sampled[2]
    for narrow in (["--top-k", "1"], ["--top-p", "1e-9"], ["--min-p", "1"]):
        assert run(toy_bundle, "-p", "hi", "--temperature", "900", *narrow).stdout == ANSWER + "\n"
    assert run(toy_bundle, "-p", "hi", "--stop", "nothing", "--stop", " o").stdout == ANSWER[:3] + "\n"


def test_the_kernels_can_be_chosen(toy_bundle: Path) -> None:
    assert run(toy_bundle, "-p", "hi", "--tier", "baseline").stdout == ANSWER + "\n"
    for refused in (run(toy_bundle, "-p", "hi", "--tier", "vax"), run(toy_bundle, EDGEBIT_TIER="vax")):
        assert refused.returncode == 1
        assert refused.stderr.startswith("edgebit: ") and "vax" in refused.stderr


def test_it_says_what_it_is(toy_bundle: Path) -> None:
    assert run(toy_bundle, "--version").stdout.startswith("edgebit-run, API 1.")
    shown = run(toy_bundle, "--help")
    assert shown.returncode == 0 and "--max-tokens" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--nonsense"], "--nonsense is not an option"),
        (["-p"], "--prompt: a value is missing"),
        (["--threads", "many"], "--threads many: expected a whole number from 0 up"),
        (["--threads", "-1"], "--threads -1: expected a whole number from 0 up"),
        (["--max-tokens", "99999999999"], "--max-tokens 99999999999: expected a whole number from 0 up"),
        (["--top-p", "7"], "--top-p 7: expected a number above 0, up to 1"),
        (["--min-p", "nan"], "--min-p nan: expected a number"),
        (["--temperature", "-1"], "--temperature -1: expected a number from 0 up"),
        (["--seed", "1x"], "--seed 1x: expected a whole number"),
        (["--raw=yes"], "--raw takes no value"),
        (["--raw"], "--raw continues the text of --prompt, which is missing"),
        (["a", "b"], "one bundle at a time: a or b"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_exit_code_2(
    toy_bundle: Path, arguments: list[str], sentence: str
) -> None:
    result = run(toy_bundle, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"edgebit: {sentence}\nedgebit: --help shows the options\n"


def test_an_error_is_one_line_and_exit_code_1(toy_bundle: Path) -> None:
    result = run(toy_bundle, "-p", "x" * 100)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("edgebit: the prompt has 103 tokens, the context holds 48: shorten it")
    assert result.stderr.count("\n") == 1
    many = run(toy_bundle, "-p", "hi", "--threads", "1000")
    assert many.stderr == "edgebit: 1000 threads: expected 1 to 256, or 0 for one per CPU\n"


def test_a_line_with_a_nul_character_is_refused_as_by_chat_py(toy_bundle: Path) -> None:
    result = run(toy_bundle, given="hi\nh\0i\nhi\n")
    assert (result.returncode, result.stdout) == (1, f"{ANSWER}\n")
    assert result.stderr == "edgebit: a message contains a NUL character\n"


def test_an_answer_that_cannot_be_written_is_an_error(toy_bundle: Path) -> None:
    command = f"{toy_bundle}/edgebit-run -p hi > /dev/full"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "edgebit: the answer cannot be written: No space left on device\n",
    )


def test_a_read_only_bundle_runs(bundle_copy: Path) -> None:
    for path in [*bundle_copy.rglob("*"), bundle_copy]:
        path.chmod(0o555)
    assert run(bundle_copy, "-p", "hi").stdout == ANSWER + "\n"
    for path in [bundle_copy, *bundle_copy.rglob("*")]:
        path.chmod(0o755)


# ---- doctor and bench ---------------------------------------------------------------------------------


def test_doctor_gives_the_verdict_of_doctor_py(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--doctor")
    assert (result.returncode, result.stderr) == (0, "")
    command = [sys.executable, str(toy_bundle / "doctor.py")]
    python = subprocess.run(command, capture_output=True, text=True, check=False)
    ours, theirs = result.stdout.splitlines(), python.stdout.splitlines()
    assert ours[-1] == theirs[-1] and ours[-1].startswith("right: ")
    for line in ("files ", "machine ", "self-test "):
        # Words alone: Python's columns are as wide as the tiers of this CPU.
        lists = ([each.split() for each in lines if each.startswith(line)] for lines in (ours, theirs))
        found, wanted = lists
        assert found == wanted and len(found) == 1
    rows = [[line.split()[:2] for line in lines if line.endswith("  right")] for lines in (ours, theirs)]
    assert rows[0] == rows[1] and "baseline" in {tier for tier, _ in rows[0]}


@pytest.mark.parametrize("name", ["libmodel.so", "weights.bin", "tokenizer.bin", "edgebit_runtime/model.py"])
def test_doctor_names_the_file_with_a_flipped_bit(bundle_copy: Path, name: str) -> None:
    path = bundle_copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = run(bundle_copy, "--doctor")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith(f"wrong: {path} is damaged: sha256 ")


def test_doctor_finds_what_the_model_computes_wrongly(bundle_copy: Path) -> None:
    whole = (bundle_copy / "manifest.json").read_text()
    samples = json.loads(whole)["self_test"]

    def verdict(old: str, new: str) -> str:
        text = whole.replace(old, new, 1)
        text = text.replace(json.loads(whole)["sha256"], "0" * 64, 1)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (bundle_copy / "manifest.json").write_text(text.replace("0" * 64, digest, 1))
        result = run(bundle_copy, "--doctor", "--tier", "baseline", "--threads", "1")
        assert result.returncode == 1
        return result.stdout.splitlines()[-1]

    logits = samples[0]["logits_sha256"]
    assert verdict(logits, "f" * 64).endswith(f"sha256 of the logits is {logits}, expected {'f' * 64}")
    assert "of the prompt is" in verdict(samples[0]["prompt"], "another")
    assert "self-test of another kind" in verdict('"answer"', '"reply"')


def test_a_bundle_without_a_self_test_says_so(bundle_copy: Path) -> None:
    table = json.loads((bundle_copy / "manifest.json").read_text())
    text = json.dumps({**table, "sha256": "0" * 64, "self_test": []})
    digest = hashlib.sha256(text.encode()).hexdigest()
    (bundle_copy / "manifest.json").write_text(text.replace("0" * 64, digest, 1))
    result = run(bundle_copy, "--doctor")
    assert result.returncode == 0
    assert "note   no self-test in this bundle" in result.stdout
    assert result.stdout.splitlines()[-1] == "right: the model opens, and its files are whole"


def test_a_folder_that_is_no_bundle_is_one_line(toy_bundle: Path, tmp_path: Path) -> None:
    result = run(toy_bundle, str(tmp_path), "--doctor")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        f"wrong: {tmp_path}/manifest.json is missing: {tmp_path} is not a bundle"
    )


def test_bench_measures_and_refuses_in_one_line(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--bench", "--repeat", "2", "--prefill", "9", "--decode", "7", "--threads", "1")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["tokens/s", "mean", "std", "ms/token"]
    figures = {line[:24].strip(): [float(figure) for figure in line[24:].split()] for line in lines[1:4]}
    assert list(figures) == ["prefill, 9 tokens", "decode, 7 tokens", "with guesses"]
    assert all(speed > 0 and mean > 0 for speed, mean, *_ in figures.values())
    command = [
        sys.executable,
        str(toy_bundle / "bench.py"),
        "--prefill",
        "9",
        "--decode",
        "7",
        "--threads",
        "1",
    ]
    python = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [re.findall(r"bytes per token +([\d.]+ \w+)", text) for text in (result.stdout, python)]
    assert found[0] == found[1] == ["41.0 kB"]  # one table of logits, 13 tokens of cache
    long = run(toy_bundle, "--bench", "--prefill", "40", "--decode", "20")
    assert long.returncode == 1
    assert long.stderr.startswith(
        "edgebit: --prefill 40 and --decode 20 need 60 tokens, the context holds 48"
    )


@pytest.mark.parametrize(
    "how", [{"arguments": ["--verify"]}, {"EDGEBIT_VERIFY": "1"}], ids=["option", "variable"]
)
def test_every_byte_is_checked_on_request(bundle_copy: Path, how: dict[str, Any]) -> None:
    asked = {**how}
    arguments = asked.pop("arguments", [])
    assert run(bundle_copy, "-p", "hi", *arguments, **asked).stdout == ANSWER + "\n"
    path = bundle_copy / "weights.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert run(bundle_copy, "-p", "hi").returncode == 0  # header and size are right
    result = run(bundle_copy, "-p", "hi", *arguments, **asked)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"edgebit: {path} is damaged: sha256 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder")
def test_it_runs_where_there_is_nothing_else(toy_bundle: Path, tmp_path: Path) -> None:
    """No /proc, /sys and /dev, no libc and no shell."""
    shutil.copytree(toy_bundle, tmp_path / "bundle")

    def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["chroot", str(tmp_path), "/bundle/edgebit-run", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert alone("-p", "hi").stdout == ANSWER + "\n"
    assert alone("--doctor").stdout.splitlines()[-1].startswith("right: ")
    assert "roofline" in alone("--bench", "--repeat", "1").stdout


# ---- a terminal -------------------------------------------------------------------------------------


@pytest.fixture
def terminal(toy_bundle: Path) -> Iterator[Terminal]:
    opened = Terminal([str(toy_bundle / "edgebit-run")])
    yield opened
    os.close(opened.master)


def test_a_conversation_at_a_terminal(terminal: Terminal) -> None:
    terminal.wait_for("/help shows the commands.")
    terminal.wait_for("> ")
    terminal.type(b"hi\n")
    terminal.wait_for(ANSWER)
    terminal.wait_for("> ")
    terminal.type(b"x" * 60 + b"\n")
    terminal.wait_for("shorten it")
    terminal.wait_for("(/reset begins again)")
    terminal.wait_for("> ")
    terminal.type(b"half a line\x03")  # Ctrl-C empties the line
    terminal.wait_for("> ")
    terminal.type(b"/reset\nhi\n")
    terminal.wait_for(ANSWER)
    terminal.wait_for("> ")
    terminal.type(b"\x04")  # Ctrl-D leaves
    assert terminal.exit_code() == 0


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(terminal: Terminal) -> None:
    terminal.wait_for("> ")
    terminal.type(b"hi\n\x13")  # Ctrl-S: the terminal takes nothing more, so the answer waits
    terminal.wait_until_it_writes()
    terminal.type(b"\x03")
    terminal.wait_for(" ...")
    assert ANSWER not in terminal.seen
    terminal.wait_for("> ")
    terminal.type(b"/reset\nhi\n")
    terminal.wait_for(ANSWER)
    terminal.type(b"/exit\n")
    assert terminal.exit_code() == 0
