"""Targets: every file is complete, and a wrong one is named with its key."""

from __future__ import annotations

import platform

import pytest

from edgebit.compiler.target import host_target, known_targets, load_target, parse_target
from edgebit.errors import TargetError
from edgebit.schedules.tier import TIERS

TEXT = """
description = "a board"
architecture = "arm64"
machines = ["aarch64"]
tiers = ["neon"]
triple = "aarch64-unknown-linux-gnu"
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
    assert TIERS[target.tiers[-1]].requires == ()


def test_x86_64_and_arm64_are_there() -> None:
    assert {"x86_64", "arm64"} <= set(known_targets())


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("aarch64", "arm64")]
)
def test_host_is_the_target_of_this_machine(machine: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert load_target("host") == host_target() == load_target(name)


def test_a_machine_no_target_serves_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    with pytest.raises(TargetError, match=r"no target serves this machine \(s390x\); choose one of .*arm64"):
        load_target("host")


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"unknown target 'toaster'; known are host, arm64, .*x86_64"):
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
