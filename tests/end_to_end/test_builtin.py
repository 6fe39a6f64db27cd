"""The built-in model as a user meets it: compiled without naming it, asked in plain English, also on ARM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgebit

WEIGHTS = 3_932_160  # ternary ones
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


@pytest.fixture(scope="module")
def arm_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edgebit.compile(target="arm64", output=tmp_path_factory.mktemp("arm") / "bundle")


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


def measure(python: str, bundle: Path, **environment: str) -> dict[str, Any]:
    """What `python bench.py --json` prints of a short run, with the standard library alone."""
    command = [python, "-S", "-s", "-E", str(bundle / "bench.py"), "--json", "--profile"]
    command += ["--threads", "2", "--prefill", "20", "--decode", "4", "--repeat", "1"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **environment}
    )
    assert (result.returncode, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def assert_plausible(found: dict[str, Any]) -> None:
    """Sums and bounds that hold at any speed."""
    assert found["conditions"]["threads"] == 2
    assert found["decode"]["tokens_per_second"] > 0 and found["prefill"]["tokens_per_second"] > 0
    assert found["memory"]["read_gb_per_second"] > 0
    assert 0 < found["decode"]["roofline_fraction"] < 1
    for phase, tokens in (("decode", 4), ("prefill", 20)):
        profile = found["profile"][phase]
        spent = sum(step["seconds"] for step in profile["steps"])
        assert 0 < spent <= profile["seconds"] == pytest.approx(spent + profile["outside"])
        macs = sum(step["macs"] for step in profile["steps"])
        assert macs == pytest.approx(tokens * WEIGHTS, rel=0.01)


def test_the_built_in_model_is_measured(bundle: Path) -> None:
    found = measure(sys.executable, bundle)
    assert_plausible(found)
    streamed = {step["kernel"]: step["weight_bytes"] for step in found["profile"]["decode"]["steps"]}
    assert streamed["lm_head"] == found["decode"]["bytes"]["head"] == 1024 * 256 * 2


@pytest.mark.arm
def test_arm_is_measured_too(arm_python: Path, arm_bundle: Path) -> None:
    found = measure(str(arm_python), arm_bundle, EB_CPU="cortex-a76")
    assert_plausible(found)
    assert found["conditions"]["tier"] == "dotprod"


@pytest.mark.arm
def test_arm_gives_the_same_answers(arm_python: Path, bundle: Path, arm_bundle: Path) -> None:
    for prompt in list(COMMANDS)[1:2]:
        expected = ask(sys.executable, bundle, prompt)
        for cpu in ("cortex-a72", "cortex-a76"):
            assert ask(str(arm_python), arm_bundle, prompt, EB_CPU=cpu) == expected


@pytest.mark.arm
def test_the_program_answers_without_python_and_without_a_userland(bundle: Path, arm_bundle: Path) -> None:
    """A static executable: what `adb shell` runs on a phone. No library and no file of ARM is there."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64")
    for prompt in COMMANDS:
        expected = ask(sys.executable, bundle, prompt)
        assert program(bundle, [], "-p", prompt) == expected
        for cpu in ("cortex-a72", "cortex-a76"):
            assert program(arm_bundle, ["qemu-aarch64", "-cpu", cpu], "-p", prompt) == expected


def program(bundle: Path, emulator: list[str], *arguments: str) -> str:
    """What edgebit-run of a bundle prints, with nothing in its environment."""
    command = [*emulator, str(bundle / "edgebit-run"), *arguments]
    path = {"PATH": os.environ["PATH"]}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=path)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.arm
def test_the_program_proves_itself_on_arm(arm_bundle: Path) -> None:
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("no qemu-aarch64")
    text = program(arm_bundle, ["qemu-aarch64", "-cpu", "cortex-a76"], "--doctor")
    assert text.splitlines()[-1].startswith("right: ") and "(dotprod, neon)" in text
    text = program(arm_bundle, ["qemu-aarch64", "-cpu", "cortex-a72"], "--doctor")
    assert text.splitlines()[-1].endswith("(neon)")
    text = program(arm_bundle, ["qemu-aarch64", "-cpu", "cortex-a76"], "--bench", "--repeat", "1")
    assert "dotprod, " in text and "roofline" in text


def test_the_package_carries_at_most_3_mb_of_weights() -> None:
    weights = list((Path(edgebit.__file__).parent / "model" / "builtin").glob("*.safetensors"))
    assert 0 < sum(path.stat().st_size for path in weights) <= 3_000_000
