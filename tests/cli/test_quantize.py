"""`edgebit quantize`: what it says, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

from tests.builders import write_checkpoint
from tests.cli.results import Run, assert_one_line
from tests.float_products import PRODUCTS, write_products


def test_it_says_what_it_packed(run: Run, tmp_path: Path) -> None:
    source = write_products(tmp_path / "model", PRODUCTS["llama, rows"])
    code, out, err = run("quantize", source, "-o", tmp_path / "packed")
    assert code == 0, err
    assert f"{tmp_path / 'packed'}: " in out
    assert "scales: 14 by row" in out
    assert f"edgebit compile {tmp_path / 'packed'}" in out


def test_a_model_that_is_not_ternary_is_one_line(run: Run, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", "packed")
    assert_one_line(run("quantize", source, "-o", tmp_path / "packed"), "is packed already")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
