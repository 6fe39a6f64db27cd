"""Scales of rows and groups in the order their kernels read them, and what cannot be laid out."""

from __future__ import annotations

import numpy as np
import pytest

from edgebit.compiler.group_scales import MatrixScales, group_scales
from edgebit.compiler.weights import Packed
from edgebit.errors import CompileError


def scales(rows: int, columns: int, shape: tuple[int, ...], seed: int = 0) -> MatrixScales:
    values = np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)
    matrix = Packed("w", rows, columns, lambda: np.zeros((rows, columns // 4), np.uint8))
    return MatrixScales("w.scale", shape, matrix, lambda: values)


def laid_out(parts: list[MatrixScales], interleaved: bool, blocks: int) -> tuple[np.ndarray, int]:
    made = group_scales(parts, interleaved, blocks)
    data = b"".join(made.chunks())
    assert len(data) == made.size
    return np.frombuffer(data, np.float32).reshape(blocks, made.groups, 16), made.group_lines


def test_one_scale_is_repeated_and_rows_of_padding_have_none() -> None:
    part = scales(20, 96, (1,))
    found, lines = laid_out([part], False, 4)
    assert lines == 8  # all of the padded row
    expected = np.zeros(64, np.float32)
    expected[:20] = part.data()[0]
    np.testing.assert_array_equal(found.reshape(-1), expected)


def test_matrices_below_each_other_take_the_smallest_groups_of_any() -> None:
    rows, groups = scales(16, 256, (16, 1), 1), scales(32, 256, (32, 4), 2)
    found, lines = laid_out([rows, groups], False, 4)
    assert lines == 4
    for group in range(4):
        np.testing.assert_array_equal(found[0, group], rows.data()[:, 0])
        np.testing.assert_array_equal(found[1:3, group].reshape(-1), groups.data()[:, group])
    assert not found[3].any()


def test_gate_and_up_take_turns() -> None:
    gate, up = scales(64, 64, (64, 2), 1), scales(64, 64, (64, 2), 2)
    found, lines = laid_out([gate, up], True, 8)
    assert lines == 2
    for pair in range(4):
        for which, part in enumerate((gate, up)):
            np.testing.assert_array_equal(
                found[2 * pair + which], part.data()[16 * pair : 16 * pair + 16].swapaxes(0, 1)
            )


def test_groups_of_16_and_32_fill_padded_rows_with_groups_of_nothing() -> None:
    found, lines = laid_out([scales(16, 96, (16, 3))], False, 1)
    assert (lines, found.shape) == (2, (1, 4, 16))
    assert found[0, :3].all() and not found[0, 3].any()


@pytest.mark.parametrize(
    ("columns", "shape", "complaint"),
    [
        (96, (16, 2), "groups of 48 columns"),
        (64, (16, 8), "groups of 8 columns"),
        (64, (16, 5), "expected .* groups of columns"),
        (64, (8, 1), r"\[8, 1\] scales of a matrix \[16, 64\]"),
        (64, (16, 2, 1), "scales of a matrix"),
    ],
)
def test_what_kernels_cannot_take_is_refused(columns: int, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(CompileError, match=complaint):
        group_scales([scales(16, columns, shape)], False, 1)


def test_scales_are_finite() -> None:
    part = scales(16, 64, (16, 1))
    part.data()[3] = np.inf
    with pytest.raises(CompileError, match=r"w\.scale: scale inf is not finite"):
        list(group_scales([part], False, 1).chunks())
