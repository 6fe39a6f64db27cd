"""Dimensions of a graph that have names: which there are, and the sizes a person gives them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx_ir as ir

from edgebit.errors import UsageError

_LARGEST = 1 << 31


def fix_dimensions(model: ir.Model, sizes: Mapping[str, int], source: str) -> None:
    """Give the named dimensions of all inputs their ``sizes``; sums and products of them follow.

    Raises UsageError naming ``source`` for a name that no input has, or a size that is none.
    """
    known = {name for value in model.graph.inputs for name in dimension_names(value)}
    for name, size in sizes.items():
        if name not in known:
            has = f"they have {', '.join(sorted(known))}" if known else "all of them are fixed"
            raise UsageError(f"{source}: no input has a dimension {name}: {has}")
        if not 1 <= size < _LARGEST:
            raise UsageError(f"{source}: dimension {name} is {size}, expected 1 to {_LARGEST - 1}")
    for value in model.graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape([_fixed(dimension, sizes) for dimension in value.shape])


def dimension_names(value: ir.Value) -> list[str]:
    """The names in the shape of a value, in their order; a dimension may have neither size nor name."""
    terms = (_terms(each) for each in value.shape or () if not isinstance(each, int))
    names = (factor for each in terms for factors in each for factor in factors if not _is_size(factor))
    return list(dict.fromkeys(names))


def _terms(dimension: ir.SymbolicDim) -> list[list[str]]:
    """The factors of each term of "2*batch + 1", as exporters write what they derive; nothing where there is
    no name. Whatever else stands there is a name.
    """
    text = str(dimension.value or "").strip()
    return [[factor.strip() for factor in term.split("*")] for term in text.split("+")] if text else []


def _fixed(dimension: int | ir.SymbolicDim, sizes: Mapping[str, int]) -> int | ir.SymbolicDim:
    if isinstance(dimension, int):
        return dimension
    terms = _terms(dimension)
    if not terms or not all(factor in sizes or _is_size(factor) for term in terms for factor in term):
        return dimension
    return sum(prod(sizes[f] if f in sizes else int(f) for f in term) for term in terms)


def _is_size(factor: str) -> bool:
    return factor.isascii() and factor.isdigit() and len(factor) < 10
