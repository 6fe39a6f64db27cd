"""Bundles in emulated ARM Debian userlands: token ids and logit bits are those of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgebit.schedules.tier import TIERS
from tests.builders import write_checkpoint
from tests.end_to_end.bundles import compile_checkpoint
from tests.end_to_end.conftest import MODELS, make

PROMPT = [(11 * i * i + 5 * i) % 300 for i in range(29)]

# Prints the tier, the answer's token ids, then the bits of all logits; runs under both Pythons.
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
model = load(sys.argv[1], threads=2)
prompt = [int(i) for i in sys.argv[2].split(",")]
text = "".join(model.generate(prompt, max_tokens=24))
bits = bytes(memoryview(model.logits(prompt))).hex()
print(model.info.tier, model.tokenize(text), bits, sep="|")
"""


def run(python: str, bundle: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-c", PROGRAM, str(bundle), ",".join(map(str, PROMPT))]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def answer(python: str, bundle: Path, **environment: str) -> tuple[str, str, str]:
    """(tier, token ids of the answer, logit bits)."""
    result = run(python, bundle, **environment)
    assert result.returncode == 0, result.stderr
    tier, ids, bits = result.stdout.strip().split("|")
    return tier, ids, bits


@pytest.mark.arm
@pytest.mark.parametrize("name", ["packed", "llama", "odd"])
def test_every_arm_tier_gives_the_bits_of_this_machine(
    name: str, arm_python: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, *expected = answer(sys.executable, make(name, tmp_path_factory).bundle)
    compile_checkpoint(write_checkpoint(tmp_path / "m", *MODELS[name]), tmp_path / "arm", "arm64")
    best = {"cortex-a72": "neon", "cortex-a76": "dotprod", "max": "i8mm"}
    for cpu, tier in best.items():
        found, *result = answer(str(arm_python), tmp_path / "arm", EB_CPU=cpu)
        assert (found, result) == (tier, expected)
    refused = run(str(arm_python), tmp_path / "arm", EB_CPU="cortex-a72", EDGEBIT_TIER="dotprod")
    assert refused.returncode == 1
    assert "EDGEBIT_TIER=dotprod: this CPU lacks dotprod; it can run: neon" in refused.stderr


@pytest.mark.arm
@pytest.mark.parametrize("name", ["packed", "llama", "odd"])
def test_32_bit_arm_gives_the_bits_of_this_machine(
    name: str, armhf_python: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, *expected = answer(sys.executable, make(name, tmp_path_factory).bundle)
    compile_checkpoint(write_checkpoint(tmp_path / "m", *MODELS[name]), tmp_path / "arm", "armv7")
    for cpu in ("cortex-a8", "cortex-a15"):  # without division and VFPv4, and with them
        tier, *found = answer(str(armhf_python), tmp_path / "arm", EB_CPU=cpu)
        assert TIERS[tier].architecture == "armv7"
        assert found == expected


@pytest.mark.arm
def test_an_android_library_gives_the_bits_of_this_machine(
    arm_python: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """glibc serves under the name of Android's libc: the library needs nothing but functions both have."""
    _, *expected = answer(sys.executable, make("packed", tmp_path_factory).bundle)
    compile_checkpoint(write_checkpoint(tmp_path / "m", *MODELS["packed"]), tmp_path / "arm", "android-arm64")
    glibc = arm_python.with_name("arm64") / "lib/aarch64-linux-gnu/libc.so.6"
    (tmp_path / "libc.so").symlink_to(glibc)
    _, *found = answer(str(arm_python), tmp_path / "arm", QEMU_SET_ENV=f"LD_LIBRARY_PATH={tmp_path}")
    assert found == expected


@pytest.mark.arm
def test_a_bundle_for_this_machine_is_refused_there(
    arm_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = make("packed", tmp_path_factory).bundle
    command = [str(arm_python), str(bundle / "chat.py"), "--prompt", "x"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1 and "--target" in result.stderr
