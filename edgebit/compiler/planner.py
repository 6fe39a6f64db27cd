"""The fused graph → plan and weights: each kernel operator becomes steps over static buffers.

Activations are ``[CHUNK][pad(features)]`` float32 rows (int8 for codes) in the arena, where `memory.py` gives
buffers that do not live at the same time the same place. The residual stream is updated in place. Sizes are
those of a chunk; decoding uses row 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
from tvm import relax

from edgebit.compiler import weights as layout
from edgebit.compiler.arena import Arena, InArena, Operand, Quantized, Rows, resolve
from edgebit.compiler.fusion import bindings
from edgebit.compiler.importer import ImportedGraph
from edgebit.compiler.memory import align
from edgebit.compiler.plan import (
    BEGIN,
    COUNT,
    POSITION,
    TOKEN_COUNT,
    Argument,
    KernelInstance,
    Plan,
    Scalar,
    Space,
    Step,
    constant,
)
from edgebit.compiler.sections import Sections
from edgebit.compiler.weights import PADDING, ROWS, Packed, Weights, pad
from edgebit.errors import CompileError

_F32 = 4
_F16 = 2
_HEAD_GRAIN = 16  # vocabulary rows: a thread takes at least so many


_SCRATCH = Argument(Space.SCRATCH, 0)


def plan(
    graph: ImportedGraph, fused: relax.Function, initializers: Mapping[str, ir.Value], context: int
) -> tuple[Plan, Weights]:
    """Plan ``fused`` for at most ``context`` tokens (a multiple of 16). Raises CompileError naming what
    cannot be planned.
    """
    return _Planner(Sections(graph, initializers), context).run(fused)


class _Planner:
    def __init__(self, sections: Sections, context: int) -> None:
        self.sections = sections
        self.context = context
        self.values: dict[relax.Var, Any] = {}
        self.arena = Arena()
        self.steps: list[tuple[Step, tuple[Operand, ...]]] = []
        self.head_start: int | None = None
        self.cache_bytes = self.scratch_bytes = self.layers = self.vocab_size = self.hidden_size = 0

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
        for variable, value in bindings(fused):
            if isinstance(value, relax.TupleGetItem):
                self.values[variable] = self.values[value.tuple_value]
            elif isinstance(value, relax.Call):
                name = value.op.name.removeprefix("edgebit.")
                if name not in lower:
                    raise CompileError(f"node {variable.name}: {name} stands where no fused kernel covers it")
                self.values[variable] = lower[name](variable.name, value)
        if self.head_start is None:
            raise CompileError(
                "logits must be the product of the final norm and an embedding table; "
                "the graph has no such head"
            )
        arena_bytes = self.arena.place()
        steps = [replace(step, buffers=resolve(operands)) for step, operands in self.steps]
        result = Plan(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            context=self.context,
            body=tuple(steps[: self.head_start]),
            head=tuple(steps[self.head_start :]),
            arena_bytes=arena_bytes,
            cache_bytes=self.cache_bytes,
            scratch_bytes=self.scratch_bytes,
        )
        return result, self.sections.weights

    def _embedding(self, label: str, call: relax.Call) -> Rows:
        _ids, table = call.args
        self.hidden_size = int(table.ty.shape.values[1])
        out = self.arena.rows(label, self.hidden_size)
        tokens = Argument(Space.TOKENS, 0, unit_stride=4)
        operands: list[Operand] = [
            tokens,
            replace(self.sections.table(table), unit_stride=0),
            InArena(out.buffer, out.row_bytes),
        ]
        self._step(
            label, KernelInstance("embedding"), TOKEN_COUNT, operands, [COUNT, constant(out.width // 16)]
        )
        return out

    def _norm_quantize(self, label: str, call: relax.Call) -> Quantized:
        x = self._rows_of(label, call.args[0])
        out = self.arena.quantized(label, x.features)
        kernel = KernelInstance("rmsnorm_quantize", (("eps", float(call.attrs["eps"])),))
        operands: list[Operand] = [
            InArena(x.buffer, x.row_bytes),
            self.sections.vector(call.args[1], x.width),
            *out.by_token(),
            self._scratch(x.row_bytes),
        ]
        self._step(
            label, kernel, TOKEN_COUNT, operands, [COUNT, constant(x.width // PADDING), constant(x.features)]
        )
        return out

    def _quantize(self, label: str, call: relax.Call) -> Quantized:
        x = self._rows_of(label, call.args[0])
        out = self.arena.quantized(label, x.features)
        operands: list[Operand] = [InArena(x.buffer, x.row_bytes), *out.by_token()]
        self._step(
            label, KernelInstance("quantize"), TOKEN_COUNT, operands, [COUNT, constant(x.width // PADDING)]
        )
        return out

    def _linear_residual(self, label: str, call: relax.Call) -> Rows:
        residual, codes, _scale, weight, weight_scale = call.args
        x = self._rows_of(label, residual)
        del self.values[residual]  # updated in place: nothing may read the old value any more
        quantized = self.values[codes]
        matrix = self.sections.packed(weight, quantized.features)
        if matrix.rows != x.features:
            raise CompileError(f"tensor {matrix.name}: {matrix.rows} rows, expected {x.features}")
        self._projection(label, "residual", quantized, [matrix], [weight_scale], x)
        return x

    def _linear_gated(self, label: str, call: relax.Call) -> Rows:
        codes, _scale, gate_weight, gate_scale, up_weight, up_scale = call.args
        quantized = self.values[codes]
        gate = self.sections.packed(gate_weight, quantized.features)
        up = self.sections.packed(up_weight, quantized.features)
        if gate.rows != up.rows:
            raise CompileError(f"tensor {up.name}: {up.rows} rows, expected {gate.rows} as the gate has")
        out = self.arena.rows(label, gate.rows)
        name = f"{gate.name}+{up.name}"
        pairs = out.width // ROWS
        weight = self.sections.weights.add(name, *layout.interleaved(gate, up))
        scales = self.sections.paired_scales(name, gate_scale, up_scale, pairs)
        self._ternary(label, f"{call.attrs['activation']}_mul", quantized, weight, 2, scales, out)
        return out

    def _attention_block(self, label: str, call: relax.Call) -> Rows:
        codes, _scale, query, query_scale, key, key_scale, value, value_scale, cos, sin = call.args
        heads, kv_heads = int(call.attrs["num_heads"]), int(call.attrs["num_kv_heads"])
        quantized = self.values[codes]
        matrices = [self.sections.packed(tensor, quantized.features) for tensor in (query, key, value)]
        head_dim = _head_dim(label, heads, kv_heads, matrices)
        qkv = self.arena.rows(f"{label}.qkv", sum(matrix.rows for matrix in matrices))
        self._projection(
            f"{label}.qkv", "store", quantized, matrices, [query_scale, key_scale, value_scale], qkv
        )
        keys = self._cache(kv_heads * self.context * head_dim)
        values = self._cache(kv_heads * self.context * head_dim)
        tables = [self.sections.rotary_table(table, self.context, head_dim) for table in (cos, sin)]
        static = ("head_dim", head_dim)
        shape = [constant(size) for size in (qkv.width, heads, kv_heads, self.context)]
        self._step(
            f"{label}.rope_append",
            KernelInstance("rope_append", (static,)),
            constant(heads + kv_heads),
            [InArena(qkv.buffer), *tables, keys, values],
            [COUNT, BEGIN, TOKEN_COUNT, POSITION, *shape],
        )
        out = self.arena.rows(label, heads * head_dim)
        scratch = self._scratch(self.context * _F32)
        shape = [constant(size) for size in (qkv.width, out.width, heads // kv_heads, self.context)]
        self._step(
            f"{label}.attention",
            KernelInstance("attention", (static, ("scale", float(call.attrs["softmax_scale"])))),
            constant(heads),
            [InArena(qkv.buffer), keys, values, scratch, InArena(out.buffer)],
            [COUNT, BEGIN, TOKEN_COUNT, POSITION, *shape],
        )
        self.layers += 1
        return out

    def _head(self, label: str, call: relax.Call) -> None:
        x = self._rows_of(label, call.args[0])
        table = call.args[2]
        self.vocab_size = int(table.ty.shape.values[0])
        self.head_start = len(self.steps)
        hidden = self.arena.buffer(f"{label}.hidden", x.row_bytes)
        self._step(
            f"{label}.norm",
            KernelInstance("rmsnorm", (("eps", float(call.attrs["eps"])),)),
            constant(1),
            [
                InArena(x.buffer, row_stride=x.row_bytes),
                self.sections.vector(call.args[1], x.width),
                InArena(hidden),
            ],
            [COUNT, constant(x.width // PADDING), constant(x.features)],
        )
        logits = Argument(Space.LOGITS, 0, unit_stride=_F32)
        operands: list[Operand] = [self.sections.table(table), InArena(hidden), logits]
        scalars = [COUNT, constant(x.width // PADDING)]
        self._step(
            label, KernelInstance("lm_head"), constant(self.vocab_size), operands, scalars, grain=_HEAD_GRAIN
        )

    def _projection(
        self,
        label: str,
        epilogue: str,
        quantized: Quantized,
        matrices: Sequence[Packed],
        scales: Sequence[Any],
        out: Rows,
    ) -> None:
        """Matrices one below the other, times the codes."""
        name = "+".join(matrix.name for matrix in matrices)
        weight = self.sections.weights.add(name, *layout.stacked(matrices))
        blocks = [align(matrix.rows, ROWS) // ROWS for matrix in matrices]
        block_scales = self.sections.block_scales(name, scales, blocks, out.width // ROWS)
        self._ternary(label, epilogue, quantized, weight, 1, block_scales, out)

    def _ternary(
        self,
        label: str,
        epilogue: str,
        quantized: Quantized,
        weight: int,
        blocks_per_unit: int,
        scales: Argument,
        out: Rows,
    ) -> None:
        columns = pad(quantized.features)
        operands: list[Operand] = [
            Argument(Space.WEIGHTS, weight, unit_stride=blocks_per_unit * ROWS * columns // 4),
            *quantized.whole(),
            scales if scales.unit_stride else replace(scales, unit_stride=_F32),
            InArena(out.buffer, unit_stride=ROWS * _F32),
        ]
        scalars = [COUNT, constant(columns // 16), TOKEN_COUNT, constant(out.width)]
        decode, prefill = (
            KernelInstance(f"ternary_gemv_{epilogue}"),
            KernelInstance(f"ternary_gemm_{epilogue}"),
        )
        self._step(label, decode, constant(out.width // ROWS), operands, scalars, prefill=prefill)

    def _rows_of(self, label: str, variable: relax.Var) -> Rows:
        value = self.values.get(variable)
        if not isinstance(value, Rows):
            raise CompileError(
                f"node {label}: its input {variable.name} is not an activation that is still held"
            )
        return value

    def _cache(self, elements: int) -> Argument:
        offset = self.cache_bytes
        self.cache_bytes += align(elements * _F16)
        return Argument(Space.CACHE, offset)

    def _scratch(self, size: int) -> Argument:
        self.scratch_bytes = max(self.scratch_bytes, align(size))
        return _SCRATCH

    def _step(
        self,
        label: str,
        kernel: KernelInstance,
        units: Scalar,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
        grain: int = 1,
        prefill: KernelInstance | None = None,
    ) -> None:
        self.arena.touch(operands, len(self.steps))
        self.steps.append(
            (Step(label, kernel, prefill or kernel, units, grain, (), tuple(scalars)), tuple(operands))
        )


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
