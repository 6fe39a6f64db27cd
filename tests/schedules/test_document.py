"""docs/KERNELS.md is what the catalogue says."""

from __future__ import annotations

from pathlib import Path

from edgebit.schedules.catalogue import table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "KERNELS.md"


def test_the_table_of_kernels_is_generated_from_the_catalogue() -> None:
    assert DOCUMENT.read_text("utf-8").endswith("\n\n" + table())
