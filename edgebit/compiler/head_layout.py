"""Heads of a size that attention cannot take are spread before and joined behind it (float_heads.py)."""

from __future__ import annotations

from tvm import relax

from edgebit.compiler.arena import InArena, Rows
from edgebit.compiler.plan import BEGIN, COUNT, TOKEN_COUNT, KernelInstance, constant
from edgebit.compiler.plan_builder import PlanBuilder
from edgebit.compiler.weights import PADDING

_LANES = 16  # a head of the attention kernels is a multiple


def padded_head_dim(heads: int, head_dim: int) -> int:
    """The smallest size of a head that attention takes: a multiple of 16, and of 64 all heads together."""
    padded = -(-head_dim // _LANES) * _LANES
    while heads * padded % PADDING:
        padded += _LANES
    return padded


def spread(plan: PlanBuilder, label: str, x: Rows, head_dim: int, padded: int) -> Rows:
    """All heads of ``x`` one behind the other, each with zeros behind its halves."""
    heads = x.features // head_dim
    out = plan.arena.rows(f"{label}.spread", heads * padded)
    plan.both(
        f"{label}.spread",
        _kernel("spread_heads", head_dim, padded),
        constant(heads),
        [InArena(x.buffer), InArena(out.buffer)],
        [COUNT, BEGIN, TOKEN_COUNT, constant(x.width), constant(out.width)],
    )
    return out


def joined(plan: PlanBuilder, variable: relax.Var, x: Rows, head_dim: int, padded: int) -> Rows:
    """The output of attention, ``x``, without those zeros. Decoding makes it once, for all threads."""
    heads, label = x.features // padded, f"{variable.name}.join"
    out = plan.arena.rows(label, heads * head_dim)
    kernel = _kernel("join_heads", head_dim, padded)
    scalars = [COUNT, BEGIN, TOKEN_COUNT, constant(x.width), constant(out.width), constant(heads)]
    made = plan.made_again.pop(variable)
    plan.advance()
    plan.prefill.add(
        plan.time, label, kernel, constant(heads), [InArena(x.buffer), InArena(out.buffer)], scalars
    )
    plan.decode.add(plan.time, label, kernel, constant(heads), [made(), InArena(out.buffer)], scalars)
    plan.scratch.end_chain()
    return out


def _kernel(name: str, head_dim: int, padded: int) -> KernelInstance:
    return KernelInstance(name, (("head_dim", head_dim), ("padded", padded)))
