"""Prefetches: what a kernel asks the caches for before it reads or writes it."""

from __future__ import annotations

from enum import IntEnum

from tvm.script import tirx as T

from .float_ops import Expr


class Cache(IntEnum):
    """Where a prefetch brings a line: LLVM's locality."""

    L2 = 2
    L1 = 3


def prefetch(element: Expr, cache: Cache, write: bool = False) -> None:
    """A statement; the element may lie behind its buffer: a prefetch never faults."""
    T.evaluate(T.Call("tirx.prefetch", [T.address_of(element), int(write), int(cache), 1], ret_ty="void"))
