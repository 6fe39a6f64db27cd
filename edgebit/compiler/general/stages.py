"""A fused TIR function → stages: functions of one block each, with the buffers between them.

Element-wise blocks go into the element-wise blocks that read them. Nothing goes into a reduction, which would
compute it again for every output that meets it: what a product reads lies in memory, in the order it is read.
No function goes into a choice by the index (a concatenation, padding), which is made one lane after the
other, and nothing where a kernel would have too many buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir import Call
from tvm.s_tir import Schedule
from tvm.s_tir.stmt import SBlock, SBlockRealize

from edgebit.errors import CompileError

MOST_BUFFERS = 8  # of a kernel
_REDUCTION = 2  # IterVar.CommReduce


@dataclass(frozen=True)
class Stage:
    """One block as a function of ``buffers``: parameters of the fused function, or buffers within it."""

    name: str
    function: tirx.PrimFunc
    buffers: Sequence[tirx.Buffer]
    outputs: Sequence[tirx.Buffer]


def stages_of(function: tirx.PrimFunc) -> list[Stage]:
    """The stages of a fused function in order. Raises CompileError where a block is not a plain loop nest."""
    schedule = Schedule(function)
    _inline(schedule)
    whole = schedule.mod["main"]
    root = whole.body.block
    nests = list(root.body.seq) if isinstance(root.body, tirx.SeqStmt) else [root.body]
    return [_stage(nest) for nest in nests]


def _inline(schedule: Schedule) -> None:
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        consumers = schedule.get_consumers(block)
        readers = [schedule.get(consumer) for consumer in consumers]
        node = schedule.get(block)
        if not consumers or any(map(_reduces, [node, *readers])) or _are_too_many(node, readers):
            continue
        if not _calls(node) or (len(consumers) == 1 and not _chooses(readers[0])):
            schedule.compute_inline(block)


def _are_too_many(block: SBlock, readers: Sequence[SBlock]) -> bool:
    """Whether a reader would touch more buffers than a kernel has, if it computed ``block`` itself."""
    own, made = ({region.source for region in regions} for regions in (block.reads, block.writes))
    touched = ({region.source for region in [*each.reads, *each.writes]} for each in readers)
    return any(len((buffers | own) - made) > MOST_BUFFERS for buffers in touched)


def _reduces(block: SBlock) -> bool:
    return any(int(axis.iter_type) == _REDUCTION for axis in block.iter_vars)


def _chooses(block: SBlock) -> bool:
    return any(str(call.op.name).endswith("if_then_else") for call in _calls(block))


def _calls(block: SBlock) -> list[Call]:
    """What a block does beside arithmetic: to compute it twice costs."""
    found: list[Call] = []

    def note(call: Call) -> Call:
        found.append(call)
        return call

    tvm_ffi.structural_map(block.body, (Call, note))
    return found


def _stage(nest: tirx.Stmt) -> Stage:
    realize = nest
    while isinstance(realize, tirx.For):
        realize = realize.body
    if not isinstance(realize, SBlockRealize):
        raise CompileError(f"it becomes a {type(realize).__name__}, not a loop over one block")
    block = realize.block
    outputs = [region.source for region in block.writes]
    inputs = [region.source for region in block.reads]
    buffers: list[tirx.Buffer] = []
    for buffer in [*inputs, *outputs]:
        if not any(buffer.same_as(other) for other in buffers):
            buffers.append(buffer)
    root = SBlock([], [], [], "root", nest)
    function = tirx.PrimFunc(buffers, SBlockRealize([], True, root)).with_attr("s_tir", True)
    return Stage(block.name_hint, function, buffers, outputs)
