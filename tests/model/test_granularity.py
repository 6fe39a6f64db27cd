"""Scales of float matrices with ternary values are found again exactly, at every granularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebit.errors import CheckpointError
from edgebit.model import ternary
from edgebit.model.granularity import find_scales, require_ternary, ternary_error


@dataclass(frozen=True)
class Matrix:
    values: Any
    name: str = "w"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def stored_rows(self, begin: int, end: int) -> Any:
        return self.values[begin:end]

    def float_rows(self, begin: int, end: int) -> Any:
        return self.values[begin:end].astype(np.float32)


def drawn(seed: int, rows: int, columns: int, group: int, shard: int, dtype: Any) -> tuple[Matrix, Any, Any]:
    """Values, trits, and the scale of every value; ``shard`` rows share their scales."""
    rng = np.random.default_rng(seed)
    trits = rng.integers(-1, 2, (rows, columns))
    trits[:, ::group] = 1  # no group is zero
    scales = rng.uniform(0.01, 0.09, (-(-rows // shard), columns // group)).astype(dtype)
    every = np.repeat(np.repeat(scales, group, axis=1), shard, axis=0)[:rows]
    return Matrix((trits * every.astype(np.float32)).astype(dtype)), trits, every.astype(np.float32)


@pytest.mark.parametrize(
    ("group", "shard", "expected"),
    [(192, 96, "tensor"), (192, 1, "row"), (192, 32, "row"), (64, 1, "group of 64"), (16, 96, "group of 16")],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_scales_are_found_again(group: int, shard: int, expected: str, dtype: Any) -> None:
    matrix, trits, every = drawn(1, 96, 192, group, shard, dtype)
    scales = find_scales(matrix)
    assert scales.granularity == expected
    groups = scales.values.reshape(-1, scales.values.shape[-1])
    whole = np.broadcast_to(np.repeat(groups, 192 // groups.shape[1], axis=1), trits.shape)
    np.testing.assert_array_equal(whole * trits, every * trits)


def test_a_later_block_may_need_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ternary, "_BLOCK_ELEMENTS", 128 * 4)
    coarse, _, _ = drawn(1, 8, 128, 128, 1, np.float32)
    fine, _, _ = drawn(2, 8, 128, 32, 1, np.float32)
    values = np.concatenate([coarse.values, fine.values, coarse.values])
    scales = find_scales(Matrix(values))
    assert scales.granularity == "group of 32"
    np.testing.assert_array_equal(np.repeat(scales.values, 32, axis=1) * np.sign(values), values)


def test_rows_and_groups_of_zeros_have_any_scale() -> None:
    matrix, _, _ = drawn(3, 8, 64, 64, 8, np.float32)
    matrix.values[3] = 0
    assert find_scales(matrix).granularity == "tensor"
    assert find_scales(Matrix(np.zeros((4, 64), np.float32))).values.tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    rows=st.integers(1, 40),
    groups=st.integers(1, 6),
    group=st.sampled_from([16, 48, 64, 128]),
    shard=st.integers(1, 8),
)
def test_values_are_scale_times_trit(seed: int, rows: int, groups: int, group: int, shard: int) -> None:
    matrix, _, _ = drawn(seed, rows, groups * group, group, shard, np.float16)
    values = find_scales(matrix).values
    every = np.broadcast_to(
        np.repeat(np.atleast_2d(values), matrix.shape[1] // values.shape[-1], axis=1), matrix.shape
    )
    np.testing.assert_array_equal(every * np.sign(matrix.values), matrix.float_rows(0, rows))


def test_other_matrices_are_refused_with_their_error() -> None:
    values = np.random.default_rng(0).standard_normal((300, 256)).astype(np.float32)
    assert 0.4 < ternary_error(Matrix(values)) < 0.6  # a normal distribution keeps 1 - 0.81² … of its norm
    for check in (find_scales, require_ternary):
        with pytest.raises(CheckpointError, match=r"tensor w: holds more than three values.*off by 4\d\.\d%"):
            check(Matrix(values))


def test_one_value_out_of_place_is_found() -> None:
    matrix, _, _ = drawn(4, 200, 64, 64, 200, np.float32)
    matrix.values[199, 5] = 0.5
    require_ternary(matrix)  # not in the sample
    with pytest.raises(CheckpointError, match="more than three values"):
        find_scales(matrix)


def test_nan_is_damage() -> None:
    matrix, _, _ = drawn(5, 8, 64, 64, 8, np.float32)
    matrix.values[0, 0] = np.nan
    with pytest.raises(CheckpointError, match="damaged"):
        find_scales(matrix)
