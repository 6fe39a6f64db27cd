"""Targets: every file is complete, and a wrong one is named with its key."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgebit.compiler.target import TUNABLE, host_target, known_targets, load_target, parse_target
from edgebit.errors import TargetError
from edgebit.schedules.tier import TIERS, tiers_of

TEXT = """
description = "a board"
architecture = "arm64"
machines = ["aarch64"]
tiers = ["neon"]
triple = "aarch64-unknown-linux-gnu"
libc = "glibc"
threads = "four"
wheel_tag = "manylinux_2_17_aarch64"
[link]
zig_target = "aarch64-linux-gnu.2.17"
page_size = 16384
flags = []
"""


@pytest.mark.parametrize("name", sorted(known_targets()))
def test_tiers_of_a_target_are_of_its_architecture_and_the_last_runs_everywhere(name: str) -> None:
    target = load_target(name)
    assert [TIERS[tier].architecture for tier in target.tiers] == [target.architecture] * len(target.tiers)
    if not target.inherits:
        assert target.tiers[-1] == tiers_of(target.architecture)[-1].name


@pytest.mark.parametrize(
    ("machine", "libc", "name"),
    [
        ("x86_64", "glibc", "x86_64"),
        ("AMD64", "glibc", "x86_64"),
        ("aarch64", "glibc", "arm64"),
        ("armv7l", "glibc", "armv7"),
        ("riscv64", "glibc", "riscv64"),
    ],
)
def test_host_is_the_target_of_this_machine(
    machine: str, libc: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    assert load_target("host") == host_target() == load_target(name)


def test_a_board_has_what_its_family_has_but_for_what_it_says() -> None:
    board, family = load_target("rpi4"), load_target("arm64")
    assert board.inherits == ("arm64",) and board.tiers == ("neon",)
    assert (board.triple, board.zig_target, board.wheel_tag) == (
        family.triple,
        family.zig_target,
        family.wheel_tag,
    )
    assert load_target("pixel").inherits == ("android-arm64", "arm64")
    assert load_target("pixel").libc == "bionic"


def test_tuning_changes_the_timing_and_no_instruction() -> None:
    """LLVM's models of these processors have the same features: what one may use, all have."""
    tiers = [load_target(name).tier("neon") for name in ("rpi3", "rpi4", "arm64")]
    assert [tier.mcpu for tier in tiers] == ["cortex-a53", "cortex-a72", "cortex-a72"]
    assert {tier.mattr for tier in tiers} == {()} and {tier.mcpu for tier in tiers} <= set(TUNABLE["arm64"])


def test_a_file_of_ones_own_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text('description = "x"\ninherits = "rpi3"\n[link]\npage_size = 4096\n')
    target = load_target(str(tmp_path / "board.toml"))
    assert (target.name, target.inherits, target.page_size) == ("board", ("rpi3", "arm64"), 4096)
    assert target.zig_target == load_target("arm64").zig_target
    with pytest.raises(TargetError, match=r"other\.toml: cannot be read"):
        load_target(str(tmp_path / "other.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('description = "x"\ninherits = "toaster"', r"board\.toml: inherits 'toaster', which is no target"),
        ('description = "x"\ninherits = 7', r"board\.toml: inherits 7, which is no target"),
        ('inherits = "rpi4"', r"board\.toml: description is missing"),
        (
            'description = "x"\ninherits = "arm64"\ntiers = ["avx2"]',
            r"board\.toml: tiers has 'avx2'; known for arm64 are .*neon",
        ),
        (
            'description = "x"\ninherits = "arm64"\ntiers = ["neon", "dotprod"]',
            r"board\.toml: tiers are .*, expected best first: \['dotprod', 'neon'\]",
        ),
        (
            'description = "x"\ninherits = "arm64"\ntune = "cortex-a76"',
            r"board\.toml: tune is 'cortex-a76'; known are cortex-a53",
        ),
        ('description = "x"\ninherits = "x86_64"\ntune = "zen4"', r"known are none for x86_64"),
        ('description = "x"\ninherits = "arm64"\nlibc = "newlib"', r"libc is 'newlib', expected one of"),
    ],
)
def test_a_wrong_board_is_named_with_the_key(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse_target("board", text)


def test_inheriting_in_a_circle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"one": 'inherits = "two"', "two": 'inherits = "one"'}
    monkeypatch.setattr("edgebit.compiler.target._texts", lambda: texts)
    with pytest.raises(TargetError, match=r"one\.toml: inherits in a circle: one from two from one"):
        parse_target("one", texts["one"])


def test_a_machine_no_target_serves_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    with pytest.raises(TargetError, match=r"no target serves this machine \(s390x\); choose one of .*arm64"):
        load_target("host")


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"unknown target 'toaster'; known are host, .*arm64, .*x86_64"):
        load_target("toaster")


def test_a_complete_text_is_a_target() -> None:
    target = parse_target("board", TEXT)
    assert (target.name, target.tiers, target.page_size) == ("board", ("neon",), 16384)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'tiers = ["neon"]',
            "tiers = []",
            r"board\.toml: tiers is \[\], expected a list of at least one text",
        ),
        ('tiers = ["neon"]', "tiers = [1]", r"board\.toml: tiers is \[1\], expected a list of texts"),
        ('description = "a board"', "", r"board\.toml: description is missing"),
        ('description = "a board"', "description = 7", r"board\.toml: description is 7, expected a text"),
        ("page_size = 16384", "page_size = 1000", r"link\.page_size is 1000, expected 4096, 16384 or 65536"),
        ("flags = []", "flags = []\ncolour = 1", r"unknown key link\.colour; known are"),
        (
            "aarch64-unknown-linux-gnu",
            "aarch64-linux-gnu",
            r"triple 'aarch64-linux-gnu' must have four parts",
        ),
        ("[link]", "[linking]", r"the table \[link\] is missing"),
        ("[link]", "[link", r"board\.toml: not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(TargetError, match=message):
        parse_target("board", TEXT.replace(old, new))
