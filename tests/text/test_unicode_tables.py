"""The committed Unicode tables are what the `tokenizers` library does, code point by code point."""

from __future__ import annotations

from itertools import pairwise

from edgebit.bundle import unicode_tables
from tests.text import unicode_probe


def test_character_classes() -> None:
    """Where words end is measured at every boundary and every 16 code points: all of them take 10 s."""
    starts = unicode_tables.CLASS_STARTS
    ranges = [(start & 8, range(start >> 4, end >> 4)) for start, end in pairwise([*starts, 0x110000 << 4])]
    believed = {code for word, codes in ranges if word for code in codes}
    edges = {code for _, codes in ranges for code in (codes[0], codes[-1])}
    probed = [code for code in unicode_probe.CODE_POINTS if code % 16 == 0 or code in edges]
    assert unicode_probe.words(probed) == believed & set(probed)
    assert list(starts) == unicode_probe.class_starts(believed & set(unicode_probe.CODE_POINTS))


def test_normalization_tables() -> None:
    decompositions = unicode_probe.decompositions()
    assert list(unicode_tables.DECOMPOSITIONS) == unicode_probe.columns(decompositions)
    assert list(unicode_tables.COMPOSITIONS) == unicode_probe.columns(unicode_probe.compositions())
