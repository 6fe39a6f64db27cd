"""The chat program as people start it: from any folder, with a terminal or without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgebit.runtime import RuntimeModelError, chat
from edgebit.runtime.stats import Stats
from tests.runtime.terminal import Terminal
from tests.runtime.toy_bundle import ANSWER


def run(
    bundle: Path, *arguments: str, given: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(bundle / "chat.py"), *arguments],
        cwd="/",
        input=given,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def in_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)


def test_one_answer_and_out(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--prompt", "hi")
    assert (result.returncode, result.stdout, result.stderr) == (0, ANSWER + "\n", "")


def test_the_bundle_is_not_written_to(toy_bundle: Path, bundle_copy: Path) -> None:
    run(bundle_copy, "--prompt", "hi")
    names = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (toy_bundle, bundle_copy)]
    assert names[0] == names[1]


def test_a_read_only_bundle_runs(bundle_copy: Path) -> None:
    for path in [*bundle_copy.rglob("*"), bundle_copy]:
        path.chmod(0o555)
    assert run(bundle_copy, "--prompt", "hi").stdout == ANSWER + "\n"
    for path in [bundle_copy, *bundle_copy.rglob("*")]:
        path.chmod(0o755)


def test_messages_come_from_a_pipe_line_by_line(toy_bundle: Path) -> None:
    result = run(toy_bundle, given="hi\n\n/reset\nhi\n/nonsense\n/help\n/exit\nnever\n")
    assert result.stdout == f"{ANSWER}\n{ANSWER}\n{chat.HELP}\n"
    assert result.stderr == "/nonsense is not a command; /help shows them\n"
    assert result.returncode == 0


def test_options_reach_the_model(toy_bundle: Path) -> None:
    result = run(
        toy_bundle, "--prompt", "hi", "--max-tokens", "5", "--stats", "--threads", "1", "--system", "x"
    )
    assert result.stdout == "é€\n"
    assert result.stderr.startswith("prompt 7 tokens at ")
    sampled = [
        run(toy_bundle, "--prompt", "hi", "--temperature", "900", "--seed", seed).stdout for seed in "112"
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    assert run(toy_bundle, "--prompt", "hi", "--stop", "x", "--stop", " o").stdout == ANSWER[:3] + "\n"
    for narrow in (["--top-k", "1"], ["--top-p", "1e-9"], ["--min-p", "1"]):
        assert run(toy_bundle, "--prompt", "hi", "--temperature", "900", *narrow).stdout == ANSWER + "\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threads", "1000"], "edgebit: 1000 threads: expected 1 to 256, or 0 for one per CPU"),
        (["--top-p", "7"], "edgebit: top_p 7.0: expected a number above 0, up to 1"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(toy_bundle: Path, arguments: list[str], sentence: str) -> None:
    result = run(toy_bundle, "--prompt", "hi", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence + "\n")


def test_a_conversation_longer_than_the_context_is_an_error(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--prompt", "x" * 100)
    assert result.returncode == 1
    assert result.stderr.startswith("edgebit: the prompt has 103 tokens, the context holds 48: shorten it")


def test_a_damaged_bundle_is_an_error_and_a_traceback_on_request(bundle_copy: Path) -> None:
    (bundle_copy / "weights.bin").unlink()
    result = run(bundle_copy, "--prompt", "hi")
    assert result.returncode == 1
    assert result.stderr == f"edgebit: {bundle_copy}/weights.bin is missing: copy the bundle again\n"
    assert "Traceback" in run(bundle_copy, "--prompt", "hi", EDGEBIT_DEBUG="1").stderr


@pytest.mark.parametrize("program", ["chat.py", "bench.py"])
def test_a_damaged_loader_is_one_line(bundle_copy: Path, program: str) -> None:
    path = bundle_copy / "edgebit_runtime" / "engine.py"
    path.write_bytes(path.read_bytes()[:100])
    for damage in ("unterminated", "No module named 'edgebit_runtime.engine'"):
        result = in_shell(f"{sys.executable} {bundle_copy}/{program}")
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert result.stderr.startswith("edgebit: edgebit_runtime/ does not load: ")
        assert damage in result.stderr
        path.unlink(missing_ok=True)


def test_a_terminal_without_utf_8_gets_what_it_can_show(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--prompt", "hi", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout) == (0, "??? ok.\n")


def test_output_that_cannot_be_written_is_one_line(toy_bundle: Path) -> None:
    for program, what in (
        ("chat.py", "--prompt hi"),
        ("doctor.py", "--json"),
        ("bench.py", "--json --repeat 1"),
    ):
        command = f"{sys.executable} {toy_bundle}/{program} {what} >/dev/full"
        result = in_shell(command)
        assert result.stderr == "edgebit: the output cannot be written: No space left on device\n"
        assert result.returncode == 1


def test_closed_streams_are_empty(toy_bundle: Path) -> None:
    start = f"{sys.executable} {toy_bundle}/chat.py"
    for command in (f"{start} <&-", f"{start} --prompt hi >&-", f"{start} --prompt '' 2>&-"):
        result = in_shell(command)
        assert (result.returncode, result.stderr) == (0, "")


def test_a_program_of_a_bundle_does_not_ask_which(toy_bundle: Path) -> None:
    for name in ("chat", "doctor", "bench"):
        inside = subprocess.run(
            [sys.executable, str(toy_bundle / f"{name}.py"), "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert inside.stdout.startswith(f"usage: {name}.py [-h]")
        assert "bundle folder" not in inside.stdout


def test_a_prompt_that_is_not_utf_8_is_read_as_from_a_pipe(toy_bundle: Path) -> None:
    prompt = b"h\xe2\x82i\xff"
    shown = []
    for command, given in (([b"--prompt", prompt], b""), ([], prompt + b"\n")):
        arguments = [sys.executable.encode(), os.fsencode(toy_bundle / "chat.py"), *command, b"--stats"]
        result = subprocess.run(arguments, input=given, capture_output=True, check=True)
        shown.append((result.stdout, result.stderr.split(b" at ")[0]))
    assert shown[0] == shown[1]


def test_a_reader_that_leaves_is_not_an_error_message(toy_bundle: Path) -> None:
    command = f"{sys.executable} {toy_bundle}/chat.py --prompt hi | true"
    result = in_shell(command)
    assert result.stderr == ""


def test_the_package_runs_as_a_module(toy_bundle: Path, tmp_path: Path) -> None:
    inside = subprocess.run(
        [sys.executable, "-B", "-m", "edgebit_runtime", "--prompt", "hi"],
        cwd=toy_bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert inside.stdout == ANSWER + "\n", inside.stderr
    shutil.copytree(toy_bundle / "edgebit_runtime", tmp_path / "edgebit_runtime")
    outside = subprocess.run(
        [sys.executable, "-m", "edgebit_runtime", str(toy_bundle), "--prompt", "hi"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outside.stdout == ANSWER + "\n", outside.stderr


# ---- a terminal -------------------------------------------------------------------------------------


@pytest.fixture
def terminal(toy_bundle: Path) -> Iterator[Terminal]:
    opened = Terminal([sys.executable, str(toy_bundle / "chat.py")])
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
    terminal.type(b"/reset\nhi\n")
    terminal.wait_for(ANSWER)
    terminal.wait_for("> ")
    terminal.type(b"\x04")  # Ctrl-D leaves
    assert terminal.exit_code() == 0


class InterruptedModel:
    """Answers with two pieces and the Ctrl-C of the user, then in full; remembers what it was asked."""

    stats = Stats()

    def __init__(self) -> None:
        self.asked: list[list[dict[str, str]]] = []

    def chat(self, messages: list[dict[str, str]], **settings: Any) -> Iterator[str]:
        self.asked.append(list(messages))
        yield "one "
        yield "two "
        if len(self.asked) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        yield "three"
        if len(self.asked) == 3:
            raise RuntimeModelError("the end")


def test_ctrl_c_empties_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", pressed)
    assert chat.read_line("> ") == ""


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the test run was started with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    options = chat.parser("bundle").parse_args(["--system", "be brief"])
    model = InterruptedModel()
    talk = chat.Chat(model, options)  # type: ignore[arg-type]
    talk.answer("a")
    talk.answer("b")
    assert capsys.readouterr().out == "one two  ...\none two three\n"
    contents = [[message["content"] for message in asked] for asked in model.asked]
    assert contents == [["be brief", "a"], ["be brief", "a", "one two ", "b"]]
    with pytest.raises(RuntimeModelError):
        talk.answer("c")
    assert capsys.readouterr().out == "one two three\n"  # the error stands on a line of its own
    talk.answer("d")
    assert [message["content"] for message in model.asked[-1]][-2:] == ["one two three", "d"]
    talk.reset()
    talk.answer("e")
    assert [message["content"] for message in model.asked[-1]] == ["be brief", "e"]
