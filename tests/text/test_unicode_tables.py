"""The committed Unicode tables are what the `tokenizers` library does, code point by code point."""

from __future__ import annotations

from edgebit.bundle import unicode_tables
from tests.text import unicode_probe


def test_character_classes() -> None:
    assert list(unicode_tables.CLASS_STARTS) == unicode_probe.class_starts()


def test_normalization_tables() -> None:
    decompositions = unicode_probe.decompositions()
    assert list(unicode_tables.DECOMPOSITIONS) == unicode_probe.columns(decompositions)
    assert list(unicode_tables.COMPOSITIONS) == unicode_probe.columns(unicode_probe.compositions())
