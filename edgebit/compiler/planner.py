"""The fused graph → plan and weights: each kernel operator becomes steps over static buffers.

Activations are ``[CHUNK][pad(features)]`` float32 rows (int8 for codes) in the arena, where `memory.py` gives
buffers that do not live at the same time the same place. The residual stream is updated in place. Sizes are
those of a chunk; decoding uses row 0.

In decoding, a norm is done everywhere: each thread normalises and quantises the row for itself just before
the projection that reads it, which costs less than the barrier it saves. So is the merge of attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
from tvm import relax

from edgebit.compiler import weights as layout
from edgebit.compiler.arena import Arena, InArena, Operand, Quantized, Rows
from edgebit.compiler.fusion import bindings
from edgebit.compiler.head import FullHead
from edgebit.compiler.importer import ImportedGraph
from edgebit.compiler.memory import align
from edgebit.compiler.options import CompileOptions
from edgebit.compiler.plan import (
    BEGIN,
    COUNT,
    KEY_CHUNK,
    POSITION,
    TOKEN_COUNT,
    Argument,
    Head,
    KernelInstance,
    Plan,
    Scalar,
    Space,
    constant,
    key_chunks,
    query_tiles,
)
from edgebit.compiler.sections import Sections
from edgebit.compiler.steps import Scratch, StepList
from edgebit.compiler.weights import PADDING, ROWS, Packed, Weights, pad
from edgebit.errors import CompileError
from edgebit.schedules.attention_prefill import prefill_scratch
from edgebit.schedules.kv_cache import cache_bytes

_F32 = 4


def plan(
    graph: ImportedGraph,
    fused: relax.Function,
    initializers: Mapping[str, ir.Value],
    context: int,
    options: CompileOptions,
) -> tuple[Plan, Weights]:
    """Plan ``fused`` for at most ``context`` tokens (a multiple of 16).

    The sections of embedding and lm_head are the last ones. Raises CompileError naming what cannot be
    planned.
    """
    return _Planner(Sections(graph, initializers, options.tokens), context, options).run(fused)


@dataclass(frozen=True)
class _Codes:
    """Quantised rows: where prefill has them, and how decoding makes them: in the arena, or (``again``) by
    each thread in its scratch when they are needed.
    """

    arena: Quantized
    again: Callable[[], Quantized] | None


@dataclass(frozen=True)
class Attention:
    """Shape of grouped-query attention."""

    head_dim: int
    heads: int
    kv_heads: int
    scale: float

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads


@dataclass(frozen=True)
class _Table:
    """An embedding table of the graph, and the rows that it fills or that meet it."""

    label: str
    variable: relax.Var
    rows: Rows


class _Planner:
    def __init__(self, sections: Sections, context: int, options: CompileOptions) -> None:
        self.sections = sections
        self.context = context
        self.form = options.form
        self.kv = options.kv
        self.values: dict[relax.Var, Any] = {}
        self.users: Counter[relax.Var] = Counter()
        self.arena = Arena()
        self.decode, self.prefill, self.head = (StepList(self.arena) for _ in range(3))
        self.scratch = Scratch()
        self.time = 0
        self.made_again: dict[relax.Var, Callable[[], Operand]] = {}
        self.embedded: _Table | None = None
        self.projected: _Table | None = None
        self.cache_bytes = self.layers = self.vocab_size = self.hidden_size = 0

    def run(self, fused: relax.Function) -> tuple[Plan, Weights]:
        lower: dict[str, Callable[[str, relax.Call], Any]] = {
            "embedding": self._embedding,
            "norm_quantize": self._norm_quantize,
            "quantize_activation": self._quantize,
            "linear_residual": self._linear_residual,
            "linear_gated": self._linear_gated,
            "attention_block": self._attention_block,
            "head": self._head,
        }
        self.users = _users(fused)
        for variable, value in bindings(fused):
            if isinstance(value, relax.TupleGetItem):
                self.values[variable] = self.values[value.tuple_value]
            elif isinstance(value, relax.Call):
                name = value.op.name.removeprefix("edgebit.")
                if name not in lower:
                    raise CompileError(f"node {variable.name}: {name} stands where no fused kernel covers it")
                self.values[variable] = lower[name](variable, value)
        logits = self._tables()
        arena_bytes = self.arena.place()
        result = Plan(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            context=self.context,
            decode=self.decode.placed(),
            prefill=self.prefill.placed(),
            head=self.head.placed(),
            logits=logits(),
            arena_bytes=arena_bytes,
            cache_bytes=self.cache_bytes,
            scratch_bytes=self.scratch.size,
        )
        return result, self.sections.weights

    def _embedding(self, variable: relax.Var, call: relax.Call) -> Rows:
        _ids, table = call.args
        self.hidden_size = int(table.ty.shape.values[1])
        out = self.arena.rows(variable.name, self.hidden_size)
        self.embedded = _Table(variable.name, table, out)
        return out

    def _norm_quantize(self, variable: relax.Var, call: relax.Call) -> _Codes:
        x = self._rows_of(variable.name, call.args[0])
        kernel = KernelInstance("rmsnorm_quantize", (("eps", float(call.attrs["eps"])),))
        weight = self.sections.vector(call.args[1], x.width)
        scalars = [COUNT, constant(x.width // PADDING), constant(x.features)]
        return self._quantizer(variable, call.args[0], kernel, [weight], scalars, needs_row=True)

    def _quantize(self, variable: relax.Var, call: relax.Call) -> _Codes:
        x = self._rows_of(variable.name, call.args[0])
        scalars = [COUNT, constant(x.width // PADDING)]
        kernel = KernelInstance("quantize")
        return self._quantizer(variable, call.args[0], kernel, [], scalars, needs_row=False)

    def _quantizer(
        self,
        variable: relax.Var,
        source: relax.Var,
        kernel: KernelInstance,
        weights: Sequence[Operand],
        scalars: Sequence[Scalar],
        needs_row: bool,
    ) -> _Codes:
        """Codes of ``source``. ``needs_row``: the kernel takes a float row of scratch."""
        label, x = variable.name, self._rows_of(variable.name, source)
        codes = self.arena.quantized(label, x.features)

        def operands(row: Operand, out: Quantized) -> list[Operand]:
            normed: list[Operand] = [self.scratch.take(x.row_bytes)] if needs_row else []
            return [row, *weights, *out.by_token(), *normed]

        def decode(out: Quantized, everywhere: bool) -> None:
            made = self.made_again.get(source)
            row = made() if made else InArena(x.buffer)
            self.decode.add(
                self.time, label, kernel, constant(1), operands(row, out), scalars, everywhere=everywhere
            )

        def in_scratch() -> Quantized:
            if self._rows_of(label, source) is not x:
                raise CompileError(f"node {label}: its input was updated before its codes were used")
            take = self.scratch.take
            out = Quantized(take(x.width), take(_F32), take(_F32), x.features)
            decode(out, everywhere=True)
            return out

        self._advance()
        rows = InArena(x.buffer, x.row_bytes)
        self.prefill.add(self.time, label, kernel, TOKEN_COUNT, operands(rows, codes), scalars)
        self.scratch.end_chain()
        if self.users[variable] == 1:
            return _Codes(codes, in_scratch)
        decode(codes, everywhere=False)
        self.scratch.end_chain()
        return _Codes(codes, None)

    def _linear_residual(self, variable: relax.Var, call: relax.Call) -> Rows:
        residual, codes, _scale, weight, weight_scale = call.args
        x = self._stored(variable.name, residual)
        quantized: _Codes = self.values[codes]
        matrix = self.sections.packed(weight, quantized.arena.features)
        if matrix.rows != x.features:
            raise CompileError(f"tensor {matrix.name}: {matrix.rows} rows, expected {x.features}")
        self._projection(variable.name, "residual", quantized, [matrix], [weight_scale], x)
        del self.values[residual]  # updated in place: nothing may read the old value any more
        return x

    def _linear_gated(self, variable: relax.Var, call: relax.Call) -> Rows:
        codes, _scale, gate_weight, gate_scale, up_weight, up_scale = call.args
        quantized: _Codes = self.values[codes]
        gate = self.sections.packed(gate_weight, quantized.arena.features)
        up = self.sections.packed(up_weight, quantized.arena.features)
        if gate.rows != up.rows:
            raise CompileError(f"tensor {up.name}: {up.rows} rows, expected {gate.rows} as the gate has")
        out = self.arena.rows(variable.name, gate.rows)
        name = f"{gate.name}+{up.name}"
        pairs = out.width // ROWS
        weight = self.sections.weights.add(name, *layout.interleaved(gate, up))
        scales = self.sections.paired_scales(name, gate_scale, up_scale, pairs)
        epilogue = f"{call.attrs['activation']}_mul"
        self._ternary(variable.name, epilogue, quantized, weight, 2, scales, out)
        return out

    def _attention_block(self, variable: relax.Var, call: relax.Call) -> Rows:
        codes, _scale, query, query_scale, key, key_scale, value, value_scale, cos, sin = call.args
        label = variable.name
        heads, kv_heads = int(call.attrs["num_heads"]), int(call.attrs["num_kv_heads"])
        quantized: _Codes = self.values[codes]
        matrices = [self.sections.packed(tensor, quantized.arena.features) for tensor in (query, key, value)]
        head_dim = _head_dim(label, heads, kv_heads, matrices)
        qkv = self.arena.rows(f"{label}.qkv", sum(matrix.rows for matrix in matrices))
        self._projection(
            f"{label}.qkv", "store", quantized, matrices, [query_scale, key_scale, value_scale], qkv
        )
        size = cache_bytes(self.kv, kv_heads, self.context, head_dim)
        keys, values = self._cache(size), self._cache(size)
        tables = [self.sections.rotary_table(table, self.context, head_dim) for table in (cos, sin)]
        static = _static(head_dim=head_dim, kv=self.kv)
        shape = [constant(size) for size in (qkv.width, heads, kv_heads, self.context)]
        self._both(
            f"{label}.rope_append",
            KernelInstance("rope_append", static),
            constant(heads + kv_heads),
            [InArena(qkv.buffer), *tables, keys, values],
            [COUNT, BEGIN, TOKEN_COUNT, POSITION, *shape],
        )
        out = self.arena.rows(label, heads * head_dim)
        cache, scale = (keys, values), float(call.attrs["softmax_scale"])
        self._attention(variable, Attention(head_dim, heads, kv_heads, scale), qkv, cache, out)
        self.layers += 1
        return out

    def _attention(
        self, variable: relax.Var, shape: Attention, qkv: Rows, cache: tuple[Argument, Argument], out: Rows
    ) -> None:
        """Prefill: whole tiles of tokens. Decoding: chunks of keys, which every thread merges for itself."""
        label = f"{variable.name}.attention"
        static = _static(group=shape.group, head_dim=shape.head_dim, kv=self.kv, scale=shape.scale)
        self._advance()
        self.prefill.add(
            self.time,
            label,
            KernelInstance("attention_prefill", static),
            query_tiles(shape.kv_heads),
            [
                InArena(qkv.buffer),
                *cache,
                self.scratch.take(prefill_scratch(shape.head_dim, shape.group)),
                InArena(out.buffer),
            ],
            [COUNT, BEGIN, TOKEN_COUNT, POSITION]
            + [constant(size) for size in (qkv.width, out.width, shape.kv_heads, self.context)],
        )
        self.scratch.end_chain()
        chunks = -(-self.context // KEY_CHUNK)
        partial = self.arena.buffer(f"{label}.partial", chunks * shape.heads * shape.head_dim * _F32)
        statistics = self.arena.buffer(f"{label}.statistics", chunks * shape.heads * 2 * _F32)
        self.decode.add(
            self.time,
            label,
            KernelInstance("attention_decode", static),
            key_chunks(shape.kv_heads),
            [
                InArena(qkv.buffer),
                *cache,
                self.scratch.take(shape.group * KEY_CHUNK * _F32),
                InArena(partial),
                InArena(statistics),
            ],
            [COUNT, BEGIN, POSITION, constant(shape.kv_heads), constant(self.context)],
        )
        self.scratch.end_chain()

        def merged() -> Operand:
            row = self.scratch.take(out.row_bytes)
            self.decode.add(
                self.time,
                f"{label}.merge",
                KernelInstance("attention_merge", _static(head_dim=shape.head_dim)),
                constant(shape.heads),
                [InArena(partial), InArena(statistics), row],
                [COUNT, POSITION, constant(shape.heads)],
                everywhere=True,
            )
            return row

        self.made_again[variable] = merged

    def _head(self, variable: relax.Var, call: relax.Call) -> None:
        label, x = variable.name, self._stored(variable.name, call.args[0])
        self.vocab_size = self.sections.table(call.args[2]).rows
        hidden = self.arena.rows(f"{label}.hidden", x.features)
        self._advance()
        self.head.add(
            self.time,
            f"{label}.norm",
            KernelInstance("rmsnorm", (("eps", float(call.attrs["eps"])),)),
            constant(1),
            [
                InArena(x.buffer, row_stride=x.row_bytes),
                self.sections.vector(call.args[1], x.width),
                InArena(hidden.buffer, row_stride=hidden.row_bytes),
            ],
            [COUNT, constant(x.width // PADDING), constant(x.features)],
        )
        self.projected = _Table(label, call.args[2], hidden)

    def _tables(self) -> Callable[[], Head]:
        """The sections and the step of the embedding and the lm_head; the head itself when all is placed."""
        if self.embedded is None or self.projected is None:
            raise CompileError(
                "logits must be the product of the final norm and an embedding table; "
                "the graph has no such head"
            )
        self.sections.weights.end_body()
        rows, hidden = self.embedded.rows, self.projected.rows
        tied = self.embedded.variable.same_as(self.projected.variable)
        form = self.form if tied else FullHead()
        embedding = form.embedding(self.sections, self.embedded.variable, rows.width)
        tokens = Argument(Space.TOKENS, 0, unit_stride=4)
        operands: list[Operand] = [tokens, *embedding.weights, InArena(rows.buffer, rows.row_bytes)]
        for steps in (self.decode, self.prefill):
            steps.add(
                0,
                self.embedded.label,
                embedding.kernel,
                TOKEN_COUNT,
                operands,
                embedding.scalars,
                first=True,
            )
        layout = self.form.logits(self.sections, self.projected.variable)
        return lambda: Head(
            layout.kind,
            hidden.width,
            hidden.buffer.offset,
            layout.kernels,
            layout.places,
            layout.plane_width,
        )

    def _projection(
        self,
        label: str,
        epilogue: str,
        codes: _Codes,
        matrices: Sequence[Packed],
        scales: Sequence[Any],
        out: Rows,
    ) -> None:
        """Matrices one below the other, times the codes."""
        name = "+".join(matrix.name for matrix in matrices)
        weight = self.sections.weights.add(name, *layout.stacked(matrices))
        blocks = [align(matrix.rows, ROWS) // ROWS for matrix in matrices]
        block_scales = self.sections.block_scales(name, scales, blocks, out.width // ROWS)
        self._ternary(label, epilogue, codes, weight, 1, block_scales, out)

    def _ternary(
        self,
        label: str,
        epilogue: str,
        codes: _Codes,
        weight: int,
        blocks_per_unit: int,
        scales: Argument,
        out: Rows,
    ) -> None:
        columns = pad(codes.arena.features)
        units = constant(out.width // ROWS)
        scalars = [COUNT, constant(columns // 16), TOKEN_COUNT, constant(out.width)]

        def operands(quantized: Quantized) -> list[Operand]:
            return [
                Argument(Space.WEIGHTS, weight, unit_stride=blocks_per_unit * ROWS * columns // 4),
                *quantized.whole(),
                scales if scales.unit_stride else replace(scales, unit_stride=_F32),
                InArena(out.buffer, unit_stride=ROWS * _F32),
            ]

        self._advance()
        gemm, gemv = (KernelInstance(f"ternary_{product}_{epilogue}") for product in ("gemm", "gemv"))
        self.prefill.add(self.time, label, gemm, units, operands(codes.arena), scalars)
        one = codes.again() if codes.again else codes.arena
        self.decode.add(self.time, label, gemv, units, operands(one), scalars)
        self.scratch.end_chain()

    def _rows_of(self, label: str, variable: relax.Var) -> Rows:
        value = self.values.get(variable)
        if not isinstance(value, Rows):
            raise CompileError(
                f"node {label}: its input {variable.name} is not an activation that is still held"
            )
        return value

    def _stored(self, label: str, variable: relax.Var) -> Rows:
        """Rows that decoding has in the arena too."""
        if variable in self.made_again:
            raise CompileError(f"node {label}: the output of attention goes through a projection first")
        return self._rows_of(label, variable)

    def _cache(self, size: int) -> Argument:
        offset = self.cache_bytes
        self.cache_bytes += align(size)
        return Argument(Space.CACHE, offset)

    def _advance(self) -> None:
        self.time += 1

    def _both(
        self,
        label: str,
        kernel: KernelInstance,
        units: Scalar,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
    ) -> None:
        """The same step in decoding and in prefill."""
        self._advance()
        self.decode.add(self.time, label, kernel, units, operands, scalars)
        self.prefill.add(self.time, label, kernel, units, operands, scalars)
        self.scratch.end_chain()


def _static(**parameters: float | int | str) -> tuple[tuple[str, float | int | str], ...]:
    """Static parameters of a kernel, what is its default left out."""
    return tuple(sorted((key, value) for key, value in parameters.items() if (key, value) != ("kv", "f16")))


def _users(fused: relax.Function) -> Counter[relax.Var]:
    """How many operators read each value; what reads an item of a tuple reads the tuple."""
    whole: dict[relax.Var, relax.Var] = {}
    users: Counter[relax.Var] = Counter()
    for variable, value in bindings(fused):
        if isinstance(value, relax.TupleGetItem):
            whole[variable] = value.tuple_value
        elif isinstance(value, relax.Call):
            operands = [argument for argument in value.args if isinstance(argument, relax.Var)]
            users.update({whole.get(operand, operand) for operand in operands})
    return users


def _head_dim(label: str, heads: int, kv_heads: int, matrices: Sequence[Packed]) -> int:
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
    if head_dim % 16 or (heads * head_dim) % PADDING:
        raise CompileError(
            f"node {label}: {heads} heads of {head_dim}: the head size must be a multiple of 16 "
            f"and all heads together of {PADDING}"
        )
    return head_dim
