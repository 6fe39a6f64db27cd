"""The schedule of kernels that nobody wrote by hand: one block of TIR over buffers of static shapes.

A *unit* of work is up to `BLOCK` neighbouring outputs along the last axis, for one index of all other axes.
Units are shared out over threads; outputs of a unit are computed side by side in vectors. A reduction runs
over its axes in their order for each output alone, so neither threads, vectors nor the tier change a bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad
from tvm.s_tir.stmt import SBlock

from edgebit.errors import CompileError

from .canonical import canonical
from .float_ops import LANES, Expr
from .float_tier import accumulator_lanes
from .tier import Tier

_LARGEST = float.fromhex("0x1.fffffep127")  # float32
BLOCK = 256
"""Outputs of a unit: a few kilobytes, so that a unit is worth a thread and a row is shared by several."""


@dataclass(frozen=True)
class Nest:
    """One block: ``statement`` for each index of ``spatial`` and ``reduce`` (variables and extents), after
    ``initial`` for each of ``spatial``.
    """

    spatial: Sequence[tuple[tirx.Var, int]]
    reduce: Sequence[tuple[tirx.Var, int]]
    statement: tirx.Stmt
    initial: tirx.Stmt | None
    outputs: Sequence[tirx.Buffer]

    @property
    def rows(self) -> int:
        return prod(extent for _, extent in self.spatial[:-1])

    @property
    def width(self) -> int:
        return self.spatial[-1][1] if self.spatial else 1

    @property
    def blocks(self) -> int:
        """Units of a row."""
        return -(-self.width // BLOCK)

    @property
    def units(self) -> int:
        return self.rows * self.blocks

    @property
    def operations(self) -> int:
        """Times that the statement is computed."""
        return self.rows * self.width * prod(extent for _, extent in self.reduce)


def read_nest(function: tirx.PrimFunc) -> Nest:
    """The nest of a function of one block with static extents. Raises CompileError where it is none."""
    blocks: list[SBlock] = []

    def found(block: SBlock) -> SBlock:
        blocks.append(block)
        return block

    tvm_ffi.structural_map(function.body, (SBlock, found))
    inner = [block for block in blocks if block.iter_vars]
    if not inner and len(blocks) == 2:  # a single value
        inner = blocks[:1]
    if len(inner) != 1:
        raise CompileError(f"{len(inner)} blocks of computation where one was expected")
    block = inner[0]
    axes: dict[int, list[tuple[tirx.Var, int]]] = {0: [], 2: []}  # data-parallel, reduction
    for axis in block.iter_vars:
        extent = axis.dom.extent
        if not isinstance(extent, tirx.IntImm) or int(axis.iter_type) not in axes:
            raise CompileError(
                f"axis {axis.var.name} of {block.name_hint} is dynamic, or neither parallel nor reduced"
            )
        axes[int(axis.iter_type)].append((axis.var, int(extent)))
    initial = None if block.init is None else _from_infinity(block.init)
    return Nest(axes[0], axes[2], block.body, initial, [region.source for region in block.writes])


def _from_infinity(initial: tirx.Stmt) -> tirx.Stmt:
    """TVM starts a maximum at the lowest finite float; that of nothing but -∞ (a row masked whole) is -∞."""

    def unlimited(value: tirx.FloatImm) -> tirx.FloatImm:
        at_an_end = str(value.ty.dtype) == "float32" and abs(value.value) == _LARGEST
        return tirx.FloatImm("float32", math.copysign(math.inf, value.value)) if at_an_end else value

    return tvm_ffi.structural_map(initial, (tirx.FloatImm, unlimited))


def default_schedule(tier: Tier, function: tirx.PrimFunc) -> tirx.PrimFunc:
    """``function``, a nest as `read_nest` takes, for one thread's run of units.

    Buffers: those of the function. Scalars: count and begin, of units. Raises CompileError for arithmetic
    that is not the same everywhere.
    """
    nest = read_nest(function)
    count, begin, unit = (tirx.Var(name, "int32") for name in ("count", "begin", "unit"))
    position = tirx.Cast("int64", begin + unit)
    row, block = position // _wide(nest.blocks), position % _wide(nest.blocks)
    indices: dict[tirx.Var, Expr] = {}
    rest: Expr = row
    for variable, extent in reversed(nest.spatial[:-1]):
        indices[variable] = rest % _wide(extent)
        rest = rest // _wide(extent)
    writer = _Writer(nest, indices, accumulator_lanes(tier) if nest.reduce else LANES)
    full, last = min(BLOCK, nest.width), nest.width - (nest.blocks - 1) * BLOCK
    body = writer.outputs(block * _wide(BLOCK), last)
    if nest.blocks > 1 and last != full:
        is_last = block == _wide(nest.blocks - 1)
        body = tirx.IfThenElse(is_last, body, writer.outputs(block * _wide(BLOCK), full))
    loop = tirx.For(unit, tirx.IntImm("int32", 0), count, tirx.ForKind.SERIAL, body)
    statements = [*(tirx.AllocBuffer(buffer) for buffer in writer.accumulators.values()), loop]
    whole = statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)
    scheduled = tirx.PrimFunc([*function.params, count, begin], whole)
    return scheduled.with_attr("tirx.noalias", True).with_attr("s_tir", True)


class _Writer:
    """Writes the loops of a unit; ``indices``: of all spatial axes but the last."""

    def __init__(self, nest: Nest, indices: Mapping[tirx.Var, Expr], lanes: int) -> None:
        self.nest = nest
        self.indices = indices
        single = isinstance(nest.statement, tirx.BufferStore)
        self.widths = [width for width in (lanes, 16, 4) if width <= lanes] if single else []
        self.statement = canonical(nest.statement)
        self.initial = canonical(nest.initial) if nest.initial is not None else None
        self.accumulators = {
            buffer: tirx.decl_buffer((max([1, *self.widths]),), str(buffer.dtype), f"{buffer.name}_acc")
            for buffer in (nest.outputs if nest.initial is not None else ())
        }

    def outputs(self, first: Expr, count: int) -> tirx.Stmt:
        """``count`` outputs from ``first`` on, in vectors as wide as they fit."""
        statements = []
        for lanes in [*dict.fromkeys(self.widths), 1]:
            vectors, rest = divmod(count, lanes)
            if vectors:
                statements.append(
                    _loop("vector", vectors, lambda i, n=lanes, f=first: self._vector(f + i * _wide(n), n))
                )
                first = first + _wide(vectors * lanes)
            count = rest
        return _sequence(statements)

    def _vector(self, first: Expr, lanes: int) -> tirx.Stmt:
        if self.initial is None:
            return self._lanes(self.statement, first, lanes, {})
        start = self._accumulate(self.initial, first, lanes, {})
        loops: list[tuple[tirx.Var, int]] = []
        reduced: dict[tirx.Var, Expr] = {}
        for variable, extent in self.nest.reduce:
            loops.append((tirx.Var(variable.name, "int64"), extent))
            reduced[variable] = loops[-1][0]
        update = self._accumulate(self.statement, first, lanes, reduced)
        for variable, extent in reversed(loops):
            update = tirx.For(variable, _wide(0), _wide(extent), tirx.ForKind.SERIAL, update)
        stores = [self._lanes(self._store(buffer), first, lanes, {}) for buffer in self.accumulators]
        return _sequence([start, update, *stores])

    def _store(self, buffer: tirx.Buffer) -> tirx.Stmt:
        """The accumulator of an output into its place; index 0 of it stands for the lane."""
        places: list[Sequence[Expr]] = []

        def note(store: tirx.BufferStore) -> tirx.BufferStore:
            if store.buffer.same_as(buffer):
                places.append(store.indices)
            return store

        assert self.initial is not None
        tvm_ffi.structural_map(self.initial, (tirx.BufferStore, note))
        value = tirx.BufferLoad(self.accumulators[buffer], [_LANE])
        return tirx.BufferStore(buffer, value, list(places[0]))

    def _accumulate(
        self, statement: tirx.Stmt, first: Expr, lanes: int, reduced: Mapping[tirx.Var, Expr]
    ) -> tirx.Stmt:
        """``statement`` on accumulators in the place of outputs."""

        def find(buffer: tirx.Buffer) -> tirx.Buffer | None:
            return next((acc for out, acc in self.accumulators.items() if out.same_as(buffer)), None)

        def load(expression: TensorLoad) -> Expr:
            accumulator = find(expression.source)
            return expression if accumulator is None else tirx.BufferLoad(accumulator, [_LANE])

        def store(each: tirx.BufferStore) -> tirx.Stmt:
            accumulator = find(each.buffer)
            return each if accumulator is None else tirx.BufferStore(accumulator, each.value, [_LANE])

        local = tvm_ffi.structural_map(statement, ((TensorLoad, load), (tirx.BufferStore, store)))
        return self._lanes(local, first, lanes, reduced)

    def _lanes(
        self, statement: tirx.Stmt, first: Expr, lanes: int, reduced: Mapping[tirx.Var, Expr]
    ) -> tirx.Stmt:
        """``statement`` for the outputs ``first`` .. ``first + lanes``."""
        lane: Expr = tirx.Var("lane", "int64") if lanes > 1 else _wide(0)
        values: dict[tirx.Var, Expr] = {**self.indices, **reduced, _LANE: lane}
        if self.nest.spatial:
            values[self.nest.spatial[-1][0]] = first + lane
        body = _substitute(statement, values)
        if lanes == 1:
            return body
        return tirx.For(lane, _wide(0), _wide(lanes), tirx.ForKind.VECTORIZED, body)


_LANE = tirx.Var("lane", "int64")


def _substitute(statement: tirx.Stmt, values: Mapping[tirx.Var, Expr]) -> tirx.Stmt:
    """Variables by their values; what the statement binds itself gets a new variable."""
    fresh: dict[tirx.Var, Expr] = {}

    def rename(bind: tirx.Bind) -> tirx.Bind:
        fresh[bind.var] = tirx.Var(bind.var.name, bind.var.ty)
        return bind

    tvm_ffi.structural_map(statement, (tirx.Bind, rename))
    known = {**values, **fresh}

    def replace(variable: tirx.Var) -> Expr:
        return next((value for old, value in known.items() if old.same_as(variable)), variable)

    return tvm_ffi.structural_map(statement, (tvm.ir.Var, replace))


def _loop(name: str, extent: int, body: object) -> tirx.Stmt:
    if extent == 1:
        return body(_wide(0))  # type: ignore[operator]
    variable = tirx.Var(name, "int64")
    return tirx.For(variable, _wide(0), _wide(extent), tirx.ForKind.SERIAL, body(variable))  # type: ignore[operator]


def _sequence(statements: Sequence[tirx.Stmt]) -> tirx.Stmt:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))


def _wide(value: int) -> Expr:
    return tirx.IntImm("int64", value)
