"""TextStream: characters and stop strings do not care how the bytes were cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgebit.runtime.streaming import TextStream


def stream(data: bytes, cuts: list[int], stop: list[str]) -> tuple[str, bool]:
    text = TextStream(stop)
    shown, places = "", sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        piece, reached = text.feed(data[start:end])
        shown += piece
        if reached:
            return shown, True
    return shown + text.finish(), False


CUTS = st.lists(st.integers(0, 1000), max_size=30)


@given(st.text(max_size=40), CUTS)
def test_text_comes_out_whole_wherever_its_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "replace")
    assert stream(data, cuts, []) == (data.decode(), False)


@given(
    st.text("ab", max_size=30), CUTS, st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)
)
def test_a_stop_string_ends_the_text_before_it(text: str, cuts: list[int], stop: list[str]) -> None:
    shown, reached = stream(text.encode(), cuts, stop)
    assert reached == any(word in text for word in stop)
    assert all(word not in shown for word in stop)
    assert text.startswith(shown)
    if not reached:
        assert shown == text


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_byte_by_byte_the_first_completed_stop_counts(text: str, stop: list[str]) -> None:
    shown, reached = stream(text.encode(), list(range(31)), stop)
    ends = [text.index(word) + len(word) for word in stop if word in text]
    if reached:
        completed = [word for word in stop if word in text and text.index(word) + len(word) == min(ends)]
        assert shown == text[: min(text.index(word) for word in completed)]


@given(st.binary(max_size=40), CUTS)
def test_bytes_that_are_not_text_never_break_the_stream(data: bytes, cuts: list[int]) -> None:
    shown, _ = stream(data, cuts, [])
    assert data.decode("utf-8", "replace").startswith(shown)
