"""The shape of a pass: patterns over the dataflow graph and what each is replaced with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tvm import relax
from tvm.relax.dpl import DFPattern, is_op, rewrite_call, wildcard

Match = Mapping[DFPattern, Any]
Rule = tuple[DFPattern, Callable[[Match], Any]]


class Rewrite(ABC):
    """A pass that applies rules to ``main``; each subclass states its rules in its docstring."""

    @abstractmethod
    def rules(self) -> Iterator[Rule]:
        """Patterns and the expressions that replace what they match."""

    def __call__(self, function: relax.Function) -> relax.Function:
        for pattern, replace in self.rules():
            function = rewrite_call(pattern, lambda _, match, replace=replace: replace(match), function)
        return function


def edgebit_op(name: str, *arguments: DFPattern) -> DFPattern:
    """A call of the operator ``edgebit.name`` on the given patterns."""
    return is_op(f"edgebit.{name}")(*arguments)


def relax_op(name: str, *arguments: DFPattern) -> DFPattern:
    """A call of TVM's operator ``relax.name`` on the given patterns."""
    return is_op(f"relax.{name}")(*arguments)


def anything(count: int) -> list[DFPattern]:
    return [wildcard() for _ in range(count)]


def product(biased: bool = True) -> Iterator[DFPattern]:
    """A projection, and with ``biased`` one with its bias: patterns that a rule is repeated for."""
    for linear in (edgebit_op("linear", *anything(4)), edgebit_op("float_linear", *anything(3))):
        yield linear
        if biased:
            yield edgebit_op("add_bias", linear, wildcard())
