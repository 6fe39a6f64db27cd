"""The steps of attention: prefill by tiles of tokens, decoding by chunks of keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import relax

from edgebit.compiler.arena import InArena, Operand, Rows
from edgebit.compiler.plan import (
    BEGIN,
    COUNT,
    KEY_CHUNK,
    POSITION,
    TOKEN_COUNT,
    Argument,
    KernelInstance,
    constant,
    key_chunks,
    query_tiles,
)
from edgebit.compiler.plan_builder import F32, PlanBuilder
from edgebit.compiler.projections import Product
from edgebit.compiler.weights import ROWS, Packed, pad
from edgebit.errors import CompileError
from edgebit.schedules.attention_prefill import prefill_scratch
from edgebit.schedules.kv_cache import cache_bytes

Static = tuple[tuple[str, float | int | str], ...]


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention over a cache for ``context`` tokens of elements ``kv``."""

    head_dim: int
    heads: int
    kv_heads: int
    scale: float
    context: int
    kv: str
    window: int = 0  # keys that a token sees; 0: all

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

    def static(self, *names: str) -> Static:
        """Static parameters of a kernel, the default element type left out."""
        chosen = [(name, getattr(self, name)) for name in sorted(names)]
        return tuple(item for item in chosen if item not in (("kv", "f16"), ("window", 0)))


def add_attention(
    plan: PlanBuilder,
    variable: relax.Var,
    shape: Attention,
    qkv: Rows,
    tables: Sequence[Argument],
) -> Rows:
    """Rotate queries and keys, append keys and values, attend. In decoding every thread merges the chunks for
    itself, just before the output is read. ``tables``: cosines and sines.
    """
    size = cache_bytes(shape.kv, shape.kv_heads, shape.context, shape.head_dim)
    cache = (plan.cache(size), plan.cache(size))
    sizes = [constant(size) for size in (qkv.width, shape.heads, shape.kv_heads, shape.context)]
    plan.both(
        f"{variable.name}.rope_append",
        KernelInstance("rope_append", shape.static("head_dim", "kv")),
        constant(shape.heads + shape.kv_heads),
        [InArena(qkv.buffer), *tables, *cache],
        [COUNT, BEGIN, TOKEN_COUNT, POSITION, *sizes],
    )
    out = plan.arena.rows(variable.name, shape.heads * shape.head_dim)
    label = f"{variable.name}.attention"
    static = shape.static("group", "head_dim", "kv", "scale", "window")
    plan.advance()
    plan.prefill.add(
        plan.time,
        label,
        KernelInstance("attention_prefill", static),
        query_tiles(shape.kv_heads),
        [
            InArena(qkv.buffer),
            *cache,
            plan.scratch.take(prefill_scratch(shape.head_dim, shape.group)),
            InArena(out.buffer),
        ],
        [COUNT, BEGIN, TOKEN_COUNT, POSITION]
        + [constant(size) for size in (qkv.width, out.width, shape.kv_heads, shape.context)],
    )
    plan.scratch.end_chain()
    chunks = -(-shape.context // KEY_CHUNK)
    partial = plan.arena.buffer(f"{label}.partial", chunks * shape.heads * shape.head_dim * F32)
    statistics = plan.arena.buffer(f"{label}.statistics", chunks * shape.heads * 2 * F32)
    plan.decode.add(
        plan.time,
        label,
        KernelInstance("attention_decode", static),
        key_chunks(shape.kv_heads),
        [
            InArena(qkv.buffer),
            *cache,
            plan.scratch.take(shape.group * KEY_CHUNK * F32),
            InArena(partial),
            InArena(statistics),
        ],
        [COUNT, BEGIN, POSITION, constant(shape.kv_heads), constant(shape.context)],
    )
    plan.scratch.end_chain()

    def merged() -> Operand:
        row = plan.scratch.take(out.row_bytes)
        plan.decode.add(
            plan.time,
            f"{label}.merge",
            KernelInstance("attention_merge", shape.static("head_dim")),
            constant(shape.heads),
            [InArena(partial), InArena(statistics), row],
            [COUNT, POSITION, constant(shape.heads)],
            everywhere=True,
        )
        return row

    plan.made_again[variable] = merged
    return out


def add_head_norms(
    plan: PlanBuilder, label: str, parts: Sequence[Product], qkv: Rows, head_dim: int, heads: int
) -> None:
    """The norms of query and key heads, ``heads`` of both, where the model has them."""
    query, key, value = (part.head_norm for part in parts)
    if query is None and key is None and value is None:
        return
    if query is None or key is None or value is not None or query.eps != key.eps:
        raise CompileError(
            f"node {label}: norms of heads are supported of queries and keys, of both with one epsilon"
        )
    if head_dim % 16:
        raise CompileError(f"node {label}: heads of {head_dim} features have norms: need a multiple of 16")
    weights = [plan.sections.sized_vector(norm.weight, head_dim) for norm in (query, key)]
    names = [plan.sections.name(norm.weight) for norm in (query, key)]
    plan.both(
        f"{label}.head_norm",
        KernelInstance("head_norm", (("eps", query.eps), ("head_dim", head_dim))),
        constant(heads),
        [
            InArena(qkv.buffer),
            *(plan.sections.floats(*named, pad(head_dim)) for named in zip(names, weights, strict=True)),
        ],
        [COUNT, BEGIN, TOKEN_COUNT, constant(qkv.width), constant(parts[0].matrix.rows // head_dim)],
    )


def common_head_dim(label: str, heads: int, kv_heads: int, matrices: Sequence[Packed]) -> int:
    """The common head size of q, k and v. Raises CompileError when the kernels cannot take it."""
    query, key, value = matrices
    head_dim = query.rows // heads
    if (
        query.rows != heads * head_dim
        or key.rows != kv_heads * head_dim
        or value.rows != key.rows
        or heads % kv_heads
    ):
        raise CompileError(
            f"node {label}: {query.rows}, {key.rows} and {value.rows} rows of q, k and v "
            f"do not make {heads} heads over {kv_heads} of keys"
        )
    if head_dim % 2 or key.rows % ROWS or query.rows % ROWS:
        raise CompileError(
            f"node {label}: {heads} and {kv_heads} heads of {head_dim}: the head size must be even, and all "
            f"heads together of queries and of keys a multiple of {ROWS}"
        )
    return head_dim
