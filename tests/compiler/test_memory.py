"""Placement of arena buffers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgebit.compiler.memory import Buffer, align, place

LIVES = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 20), st.integers(0, 6)), max_size=30)


@given(LIVES)
def test_buffers_alive_together_never_overlap(lives: list[tuple[int, int, int]]) -> None:
    buffers = [Buffer(str(i), size, first, first + length) for i, (size, first, length) in enumerate(lives)]
    total = place(buffers)
    for i, one in enumerate(buffers):
        assert one.offset % 64 == 0 and one.offset + one.size <= total
        for other in buffers[:i]:
            apart_in_time = one.last < other.first or other.last < one.first
            apart_in_space = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            assert apart_in_time or apart_in_space


def test_a_buffer_takes_the_place_of_one_that_died() -> None:
    buffers = [Buffer("a", 640, 0, 1), Buffer("b", 640, 2, 3), Buffer("c", 64, 0, 3)]
    assert place(buffers) == align(640) + 64
    assert buffers[0].offset == buffers[1].offset == 0
