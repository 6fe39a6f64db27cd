"""Named dimensions of a graph of tensors."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from onnx import helper

from edgebit.commands.compile import sizes_of
from edgebit.errors import UsageError
from edgebit.graph.dimensions import dimension_names, fix_dimensions
from tests.tensor_graphs import small_graph


def graph(*shape: object) -> ir.Model:
    return ir.from_proto(small_graph([helper.make_node("Relu", ["x"], ["y"])], {}, list(shape)))


def test_names_sums_and_products_get_their_sizes() -> None:
    model = graph("batch", "2*tokens + 1", "past+tokens", 4, None, "other")
    assert dimension_names(model.graph.inputs[0]) == ["batch", "tokens", "past", "other"]
    fix_dimensions(model, {"batch": 3, "tokens": 5, "past": 2}, "m.onnx")
    shape = model.graph.inputs[0].shape
    assert shape is not None
    assert [each if isinstance(each, int) else each.value for each in shape] == [3, 11, 7, 4, None, "other"]


@pytest.mark.parametrize("name", ["batch size", "2**2**2**2**2**2", "a/0", "()", "n-1", "9" * 5000])
def test_whatever_else_stands_there_is_a_name(name: str) -> None:
    model = graph(name, 2)
    names = dimension_names(model.graph.inputs[0])
    fix_dimensions(model, dict.fromkeys(names, 1), "m.onnx")
    assert model.graph.inputs[0].shape is not None
    assert all(isinstance(size, int) for size in model.graph.inputs[0].shape)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"rows": 1}, "m.onnx: no input has a dimension rows: they have batch"),
        ({"batch": 0}, "m.onnx: dimension batch is 0, expected 1 to"),
        ({"batch": 1 << 31}, "dimension batch is 2147483648, expected 1 to"),
    ],
)
def test_names_and_sizes_that_are_none_are_refused(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        fix_dimensions(graph("batch", 2), sizes, "m.onnx")


def test_the_option_is_a_name_and_a_size() -> None:
    assert sizes_of(["batch=1", "a=b=20"]) == {"batch": 1, "a=b": 20}
    for options, complaint in (
        (["batch"], "--dim batch: expected NAME=SIZE"),
        (["=3"], "--dim =3: expected NAME=SIZE"),
        (["batch=-1"], "--dim batch=-1: expected NAME=SIZE"),
        (["batch=1", "batch=2"], "--dim batch is there twice"),
    ):
        with pytest.raises(UsageError, match=complaint):
            sizes_of(options)
