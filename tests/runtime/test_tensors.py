"""Outputs of a graph as Python has them."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest

from edgebit.runtime.tensors import TensorInfo, as_view


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), 1.5), ((1,), [1.5]), ((2, 1), [[1.5], [-2.0]])],
    ids=["scalar", "row", "matrix"],
)
def test_an_output_has_the_shape_that_the_graph_says(shape: tuple[int, ...], expected: Any) -> None:
    info = TensorInfo("y", "float32", shape)
    view = as_view(bytearray(array("f", [1.5, -2.0][: info.count]).tobytes()), info)
    assert view.tolist() == expected
    assert np.asarray(view).shape == view.shape == shape
