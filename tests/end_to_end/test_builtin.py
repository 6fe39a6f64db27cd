"""The built-in model as a user meets it: compiled without naming it, asked in plain English, also on ARM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgebit

COMMANDS = {
    "turn on the kitchen light": {"action": "turn_on", "device": "light", "room": "kitchen"},
    "dim the bedroom lamp to 40 percent": {
        "action": "set_brightness",
        "device": "lamp",
        "room": "bedroom",
        "value": 40,
    },
    "set the living room thermostat to 21 degrees": {
        "action": "set_temperature",
        "room": "living room",
        "value": 21,
    },
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edgebit.compile(target="host", output=tmp_path_factory.mktemp("builtin") / "bundle")


def ask(python: str, bundle: Path, prompt: str, **environment: str) -> str:
    """What `python chat.py --prompt PROMPT` prints, started from another folder."""
    command = [python, str(bundle / "chat.py"), "--prompt", prompt]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **environment}
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("prompt", COMMANDS)
def test_commands_are_answered_with_their_json(prompt: str, bundle: Path) -> None:
    assert json.loads(ask(sys.executable, bundle, prompt)) == COMMANDS[prompt]


def test_an_unknown_request_is_refused_in_words(bundle: Path) -> None:
    answer = ask(sys.executable, bundle, "who wrote hamlet?")
    assert answer.startswith("Sorry")


def test_a_conversation_reuses_what_it_has_evaluated(bundle: Path) -> None:
    with edgebit.load(bundle) as model:
        messages = [{"role": "user", "content": "turn on the kitchen light"}]
        answer = "".join(model.chat(messages))
        messages += [
            {"role": "assistant", "content": answer},
            {"role": "user", "content": "lock the front door"},
        ]
        second = "".join(model.chat(messages))
        assert json.loads(second) == {"action": "lock", "device": "front door"}
        assert model.stats.cached_tokens > 20


@pytest.mark.arm
def test_arm_gives_the_same_answers(arm_python: Path, bundle: Path, tmp_path: Path) -> None:
    arm = edgebit.compile(target="arm64", output=tmp_path / "arm")
    for prompt in list(COMMANDS)[1:2]:
        expected = ask(sys.executable, bundle, prompt)
        for cpu in ("cortex-a72", "cortex-a76"):
            assert ask(str(arm_python), arm, prompt, EB_CPU=cpu) == expected


def test_the_package_carries_at_most_3_mb_of_weights() -> None:
    weights = list((Path(edgebit.__file__).parent / "model" / "builtin").glob("*.safetensors"))
    assert 0 < sum(path.stat().st_size for path in weights) <= 3_000_000
