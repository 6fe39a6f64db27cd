"""Which kernels a CPU gets, and plans that must not be walked."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.builders import Toy, toy_library, toy_library_path, toy_weights

AVX2, FMA, F16C, AVX512BW, AVX512VL, AVX512VNNI = 1, 2, 4, 1 << 5, 1 << 7, 1 << 8
AVXVNNI, SSSE3 = 1 << 12, 1 << 13
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the tiers of the toy plan on x86-64")


def choose(features: int, forced: str | None = None) -> tuple[str | None, str]:
    error = ctypes.create_string_buffer(512)
    wish = forced.encode() if forced is not None else None
    name = toy_library().eb_probe_tier(features, wish, error, 512)
    return (name.decode() if name else None), error.value.decode()


@ON_X86
@pytest.mark.parametrize(
    ("features", "tier"),
    [
        (0, "baseline"),
        (AVX2, "baseline"),
        (AVX2 | FMA, "baseline"),
        (AVX2 | FMA | F16C, "avx2"),
        (AVX512VNNI | AVX512BW, "baseline"),
        (AVX512VNNI | AVX512BW | AVX512VL, "avx512vnni"),
        ((1 << 64) - 1, "avx512vnni"),
    ],
)
def test_the_best_tier_whose_features_are_all_there(features: int, tier: str) -> None:
    assert choose(features) == (tier, "")
    assert choose(features, "") == (tier, "")


@ON_X86
def test_a_forced_tier_is_taken_or_refused_by_name() -> None:
    everything = (1 << 64) - 1
    assert choose(everything, "avx2") == ("avx2", "")
    assert choose(everything, "baseline") == ("baseline", "")
    assert choose(everything, "avx") == (
        None,
        "EDGEBIT_TIER=avx: this library has no such tier; it has: avx512vnni, avx2, baseline",
    )
    assert choose(AVX2 | FMA | F16C | AVX512BW, "avx512vnni") == (
        None,
        "EDGEBIT_TIER=avx512vnni: this CPU lacks avx512vl, avx512vnni; it can run: avx2, baseline",
    )


@ON_X86
def test_features_agree_with_what_the_kernel_reports() -> None:
    flags = Path("/proc/cpuinfo").read_text().split("flags")[1].split("\n")[0].split()
    names = {"avx2": AVX2, "fma": FMA, "f16c": F16C, "avx512bw": AVX512BW, "avx512_vnni": AVX512VNNI}
    names |= {"avx_vnni": AVXVNNI, "ssse3": SSSE3}
    for name, bit in names.items():
        assert bool(toy_library().eb_probe_features() & bit) == (name in flags), name


@pytest.mark.parametrize("tier", ["baseline", "nonsense"])
def test_the_environment_forces_a_tier(tmp_path: Path, tier: str) -> None:
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]);"
        "from tests.runtime.builders import Toy; toy = Toy(pathlib.Path(sys.argv[1]));"
        "print(toy.library.eb_tier_name(toy.model).decode())"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "EDGEBIT_TIER": tier, "EDGEBIT_TOY_LIBRARY": str(toy_library_path())}
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(root)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if tier == "baseline":
        assert result.stdout == "baseline\n"
    else:
        assert "EDGEBIT_TIER=nonsense: this library has no such tier; it has: " in result.stderr


def test_the_tier_in_use_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    toy = Toy(tmp_path)
    assert toy.library.eb_tier_name(toy.model).decode() == choose(toy_library().eb_probe_features())[0]
    assert toy.library.eb_version() == b"1.2"


# ---- plans ---------------------------------------------------------------------------------------

DECODE, HEAD = 0, 2
OFFSET_LOW, OFFSET_HIGH, SPACE, ROW_STRIDE, BUFFER_WORDS = 0, 1, 2, 4, 6


def changed(plan: int, step: int, field: str, extra: int, value: int) -> str:
    error = ctypes.create_string_buffer(512)
    word = toy_library().eb_probe_step_offset(field.encode()) + extra
    accepted = toy_library().eb_probe_changed_step(plan, step, word, value, error, 512)
    assert bool(accepted) == (error.value == b"")
    return error.value.decode().replace("libmodel.so is damaged: ", "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((DECODE, 0, "kernel", 0, 5), "step 0 of its decode plan names a kernel that is not there, slot 0"),
        ((DECODE, 1, "grain", 0, 0), "step 1 of its decode plan has grain 0, slot 0"),
        ((DECODE, 1, "units", 0, 1), "step 1 of its decode plan has units of no kind, slot 0"),
        ((HEAD, 0, "units", 1, 2**31), "step 0 of its head plan has too few or too many units, slot 0"),
        ((DECODE, 1, "everywhere", 0, 2), "step 1 of its decode plan is done in no known way, slot 0"),
        ((DECODE, 2, "everywhere", 0, 1), "its decode plan ends without a barrier"),
        ((HEAD, 0, "everywhere", 0, 1), "its head plan ends without a barrier"),
        ((DECODE, 2, "scalars", 0, 7), "step 2 of its decode plan has a scalar of no kind, scalar 0"),
        (
            (DECODE, 0, "buffers", OFFSET_LOW, 256),
            "step 0 of its decode plan starts outside its memory, buffer 0",
        ),
        (
            (DECODE, 0, "buffers", BUFFER_WORDS + OFFSET_HIGH, 1),
            "step 0 of its decode plan starts outside its memory, buffer 1",
        ),
        (
            (DECODE, 1, "buffers", BUFFER_WORDS + SPACE, 6),
            "step 1 of its decode plan starts outside its memory, buffer 1",
        ),
        (
            (HEAD, 0, "buffers", ROW_STRIDE, 512),
            "step 0 of its head plan starts outside its memory, buffer 0",
        ),
        (
            (HEAD, 0, "buffers", BUFFER_WORDS + ROW_STRIDE, 512),
            "step 0 of its head plan starts outside its memory, buffer 1",
        ),
    ],
)
def test_a_plan_that_would_leave_its_memory_is_refused(
    change: tuple[int, int, str, int, int], sentence: str
) -> None:
    assert changed(*change) == sentence


def test_changes_that_stay_inside_are_accepted() -> None:
    assert changed(DECODE, 0, "grain", 0, 1000) == ""
    assert changed(HEAD, 0, "buffers", ROW_STRIDE, 4) == ""


def test_messages_are_formatted_and_cut() -> None:
    out = ctypes.create_string_buffer(80)
    toy_library().eb_probe_message(out, 80, b"text", -(2**31), 2**64 - 1)
    assert out.value == b"<text|-2147483648|18446744073709551615>"
    toy_library().eb_probe_message(out, 10, b"text", 7, 0)
    assert out.value == b"<text|7|0"


class PoolingStruct(ctypes.Structure):
    """eb_pooling of plan.h."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("kind", "width", "normalize")),
        ("state", ctypes.c_uint64),
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({}, ""),
        ({"kind": 0}, "pooling is of no kind"),
        ({"kind": 3}, "pooling is of no kind"),
        ({"width": 0}, "pooling has a width that is no multiple of 64"),
        ({"width": 80}, "pooling has a width that is no multiple of 64"),
        ({"width": 2**31}, "pooling has a width that is no multiple of 64"),
        ({"normalize": 99}, "pooling names a kernel that is not there"),
        ({"state": 32}, "pooling reads outside the arena"),
        ({"state": 2**64 - 64}, "pooling reads outside the arena"),
        ({"width": 1 << 20}, "pooling reads outside the arena"),
        ({"with_head": 1}, "lm_head stands beside a pooling"),
    ],
)
def test_a_plan_whose_pooling_is_damaged_is_refused(wrong: dict[str, int], reason: str) -> None:
    fields = {"kind": 2, "width": 64, "normalize": 0, "state": 64, "with_head": 0, **wrong}
    with_head = fields.pop("with_head")
    error = ctypes.create_string_buffer(256)
    pooling = PoolingStruct(**fields)
    accepted = toy_library().eb_probe_pooling(ctypes.byref(pooling), with_head, error, 256)
    assert bool(accepted) == (not reason)
    assert error.value.decode().removeprefix("libmodel.so is damaged: its ") == reason
