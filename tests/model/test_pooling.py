"""Which states become an embedding: what modules.json says, what a person says, and no guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebit.errors import ConfigError, UsageError
from edgebit.model import Overrides, open_checkpoint
from edgebit.model.pooling import read_pooling
from tests.builders import change_json, write_checkpoint, write_json, write_pooling


@pytest.mark.parametrize(("mode", "pooling"), [("lasttoken", "last"), ("mean_tokens", "mean")])
def test_modules_say_the_pooling(tmp_path: Path, mode: str, pooling: str) -> None:
    write_pooling(tmp_path, mode, "Normalize")
    assert read_pooling(tmp_path) == pooling


def test_without_modules_nothing_is_known(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) is None


def test_a_person_wins_over_the_files(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", "packed")
    write_pooling(folder, "mean_tokens")
    assert open_checkpoint(folder).pooling == "mean"
    checkpoint = open_checkpoint(folder, Overrides(pooling="last"))
    assert checkpoint.pooling == "last"
    assert checkpoint.overrides.describe() == ("pooling last",)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown --pooling cls; known are last, mean"):
        Overrides(pooling="cls")


def test_a_mode_edgebit_lacks_is_named(tmp_path: Path) -> None:
    write_pooling(tmp_path, "cls_token")
    with pytest.raises(ConfigError, match=r"1_Pooling/config.json: pooling_mode_cls_token is true, expected"):
        read_pooling(tmp_path)


def test_two_modes_at_once_are_refused(tmp_path: Path) -> None:
    write_pooling(tmp_path, "mean_tokens")
    change_json(tmp_path / "1_Pooling" / "config.json", pooling_mode_lasttoken=True)
    with pytest.raises(ConfigError, match="mean_tokens and pooling_mode_lasttoken is true"):
        read_pooling(tmp_path)


def test_a_module_edgebit_lacks_is_named(tmp_path: Path) -> None:
    write_pooling(tmp_path, "mean_tokens", "Dense")
    with pytest.raises(ConfigError, match=r"modules.json: module Dense is not supported"):
        read_pooling(tmp_path)


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    write_pooling(tmp_path, "mean_tokens")
    (tmp_path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"1_Pooling/config.json: is missing"):
        read_pooling(tmp_path)
    write_json(tmp_path / "modules.json", {"0": "Transformer"})
    with pytest.raises(ConfigError, match="expected a list of modules"):
        read_pooling(tmp_path)
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ConfigError, match="not valid JSON"):
        read_pooling(tmp_path)
