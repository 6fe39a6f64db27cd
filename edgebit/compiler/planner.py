"""The fused graph → plan and weights: each kernel operator becomes steps over static buffers.

Activations are ``[CHUNK][pad(features)]`` float32 rows (int8 for codes) in the arena, where `memory.py` gives
buffers that do not live at the same time the same place. The residual stream is updated in place. Sizes are
those of a chunk; decoding uses row 0.

In decoding, a norm is done everywhere: each thread normalises and quantises the row for itself just before
the projection that reads it, which costs less than the barrier it saves. So is the merge of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import onnx_ir as ir
from tvm import relax

from edgebit.compiler import products
from edgebit.compiler.arena import InArena, Operand, Rows
from edgebit.compiler.attention_steps import (
    Attention,
    add_attention,
    add_head_norms,
    common_head_dim,
)
from edgebit.compiler.fusion import bindings
from edgebit.compiler.head import FullHead, HeadForm
from edgebit.compiler.head_layout import joined, padded_head_dim, spread
from edgebit.compiler.importer import ImportedGraph
from edgebit.compiler.options import CompileOptions
from edgebit.compiler.plan import (
    COUNT,
    NO_LOGITS,
    TOKEN_COUNT,
    Argument,
    Head,
    KernelInstance,
    Plan,
    Pooling,
    PoolingKind,
    Space,
    constant,
)
from edgebit.compiler.plan_builder import PlanBuilder
from edgebit.compiler.projections import Codes, HeadNorm, Product
from edgebit.compiler.readers import projected_floats, readers_of
from edgebit.compiler.sections import Sections
from edgebit.compiler.weights import PADDING, Weights
from edgebit.errors import CompileError


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
class _Table:
    """An embedding table of the graph, and the rows that it fills or that meet it."""

    label: str
    variable: relax.Var
    rows: Rows


class _Planner(PlanBuilder):
    def __init__(self, sections: Sections, context: int, options: CompileOptions) -> None:
        super().__init__(sections)
        self.context = context
        self.form = options.form
        self.kv = options.kv
        self.embedded: _Table | None = None
        self.projected: _Table | None = None
        self.pooled: Callable[[], Pooling] | None = None
        self.layers = self.vocab_size = self.hidden_size = 0
        self.projected_floats: set[relax.Var] = set()

    def run(self, fused: relax.Function) -> tuple[Plan, Weights]:
        lower: dict[str, Callable[[str, relax.Call], Any]] = {
            "embedding": self._embedding,
            "norm_quantize": self._norm_quantize,
            "quantize_activation": self._quantize,
            "rms_norm": self._norm,
            "scale": self._scale,
            "linear": self._linear,
            "float_linear": self._float_linear,
            "add_bias": self._add_bias,
            "head_norm": self._head_norm,
            "residual": self._residual,
            "norm_residual": self._norm_residual,
            "gated": self._gated,
            "attention_block": self._attention_block,
            "head": self._head,
            "pooled_head": self._pooled_head,
        }
        self.readers = readers_of(fused)
        self.projected_floats = projected_floats(fused)
        for variable, value in bindings(fused):
            if isinstance(value, relax.TupleGetItem):
                self.values[variable] = self.values[value.tuple_value]
            elif isinstance(value, relax.Call):
                name = value.op.name.removeprefix("edgebit.")
                if name not in lower:
                    raise CompileError(f"node {variable.name}: {name} stands where no fused kernel covers it")
                self.values[variable] = lower[name](variable, value)
        if self.pooled is not None:
            self._embeddings(FullHead())
        logits = None if self.pooled else self._tables()
        arena_bytes = self.arena.place()
        result = Plan(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_layers=self.layers,
            context=self.context,
            kv=self.kv,
            decode=self.decode.placed(),
            prefill=self.prefill.placed(),
            head=self.head.placed(),
            logits=logits() if logits else NO_LOGITS,
            pooling=self.pooled() if self.pooled else None,
            arena_bytes=arena_bytes,
            cache_bytes=self.cache_bytes,
            scratch_bytes=self.scratch.size,
        )
        return result, self.sections.weights

    def _embedding(self, variable: relax.Var, call: relax.Call) -> Rows:
        _ids, table = call.args
        self.hidden_size = int(table.ty.shape.values[1])
        self.vocab_size = self.sections.table(table).rows
        out = self.arena.rows(variable.name, self.hidden_size)
        self.embedded = _Table(variable.name, table, out)
        return out

    def _norm_quantize(self, variable: relax.Var, call: relax.Call) -> Codes:
        x = self.rows_of(variable.name, call.args[0])
        kernel = KernelInstance("rmsnorm_quantize", (("eps", float(call.attrs["eps"])),))
        weight = self.sections.vector(call.args[1], x.width)
        scalars = [COUNT, constant(x.width // PADDING), constant(x.features)]
        return self.quantizer(variable, call.args[0], kernel, [weight], scalars, needs_row=True)

    def _quantize(self, variable: relax.Var, call: relax.Call) -> Codes:
        x = self.rows_of(variable.name, call.args[0])
        scalars = [COUNT, constant(x.width // PADDING)]
        kernel = KernelInstance("quantize")
        return self.quantizer(variable, call.args[0], kernel, [], scalars, needs_row=False)

    def _norm(self, variable: relax.Var, call: relax.Call) -> Rows:
        """A norm whose output is wanted as floats."""
        source = call.args[0]
        x = self.rows_of(variable.name, source)
        out = self.arena.rows(variable.name, x.features)
        decoded = self.normalized(variable.name, call, x, source, call.args[1], out)
        if variable in self.projected_floats and len(self.readers[variable]) == 1:
            self.made_again[variable] = partial(decoded, True)
        else:
            decoded(False)
            self.scratch.end_chain()
        return out

    def _scale(self, variable: relax.Var, call: relax.Call) -> Rows:
        x = self.taken(variable.name, call.args[0])
        kernel = KernelInstance("scale_rows", (("factor", float(call.attrs["factor"])),))
        self.elementwise(variable.name, kernel, x)
        return x

    def _linear(self, variable: relax.Var, call: relax.Call) -> Product:
        codes, _scale, weight, weight_scale = call.args
        quantized: Codes = self.values[codes]
        matrix = self.sections.packed(weight, quantized.arena.features)
        return Product(variable.name, quantized, matrix, weight_scale)

    def _float_linear(self, variable: relax.Var, call: relax.Call) -> Product:
        source, weight, weight_scale = call.args
        x = self.float_input(variable.name, source)
        return Product(variable.name, x, self.sections.packed(weight, x.features), weight_scale)

    def _add_bias(self, variable: relax.Var, call: relax.Call) -> Product:
        product = self.product_of(variable.name, call.args[0])
        return replace(product, label=variable.name, bias=call.args[1])

    def _head_norm(self, variable: relax.Var, call: relax.Call) -> Product:
        product = self.product_of(variable.name, call.args[0])
        return replace(product, head_norm=HeadNorm(call.args[1], float(call.attrs["eps"])))

    def _residual(self, variable: relax.Var, call: relax.Call) -> Rows:
        product = self.product_of(variable.name, call.args[1])
        x = self.taken(variable.name, call.args[0])
        products.add_to(self, variable.name, x, product)
        return x

    def _norm_residual(self, variable: relax.Var, call: relax.Call) -> Rows:
        y = self.rows_of(variable.name, call.args[1])
        x = self.taken(variable.name, call.args[0])
        if y.features != x.features:
            raise CompileError(f"node {variable.name}: {y.features} features are added to {x.features}")
        self.normalized(variable.name, call, y, call.args[1], call.args[2], x, residual=True)(False)
        self.scratch.end_chain()
        return x

    def _gated(self, variable: relax.Var, call: relax.Call) -> Rows:
        gate, up = (self.product_of(variable.name, argument) for argument in call.args)
        return products.gated(self, variable.name, gate, up, str(call.attrs["activation"]))

    def _attention_block(self, variable: relax.Var, call: relax.Call) -> Rows:
        label = variable.name
        heads, kv_heads = int(call.attrs["num_heads"]), int(call.attrs["num_kv_heads"])
        parts = [self.product_of(label, argument) for argument in call.args[:3]]
        head_dim = common_head_dim(label, heads, kv_heads, [part.matrix for part in parts])
        qkv = products.side_by_side(self, f"{label}.qkv", parts)
        add_head_norms(self, label, parts, qkv, head_dim, heads + kv_heads)
        padded = padded_head_dim(heads, head_dim)
        tables = [
            self.sections.rotary_table(table, self.context, head_dim, padded) for table in call.args[3:]
        ]
        scale, window = float(call.attrs["softmax_scale"]), int(call.attrs["window"])
        self.layers += 1
        shape = Attention(padded, heads, kv_heads, scale, self.context, self.kv, window)
        if padded == head_dim:
            return add_attention(self, variable, shape, qkv, tables)
        wide = add_attention(self, variable, shape, spread(self, label, qkv, head_dim, padded), tables)
        return joined(self, variable, wide, head_dim, padded)

    def _head(self, variable: relax.Var, call: relax.Call) -> None:
        label, x = variable.name, self.stored(variable.name, call.args[0])
        self.vocab_size = self.sections.table(call.args[2]).rows
        hidden = self.arena.rows(f"{label}.hidden", x.features)
        self.advance()
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

    def _pooled_head(self, variable: relax.Var, call: relax.Call) -> None:
        label, x = variable.name, self.stored(variable.name, call.args[0])
        kind = str(call.attrs["pooling"])
        state = self.arena.buffer(f"{label}.state", 2 * x.row_bytes)
        state.touch(0)  # what earlier chunks of a text left there stays
        self.advance()
        self.head.add(
            self.time,
            label,
            KernelInstance(f"pool_{kind}", (("eps", float(call.attrs["eps"])),)),
            constant(1),
            [
                InArena(x.buffer, row_stride=x.row_bytes),
                self.sections.vector(call.args[1], x.width),
                InArena(state),
            ],
            [COUNT, constant(x.width // PADDING), constant(x.features)],
        )
        self.pooled = lambda: Pooling(
            PoolingKind[kind.upper()], x.width, state.offset, KernelInstance("normalize")
        )

    def _tables(self) -> Callable[[], Head]:
        """The sections and the step of the embedding and the lm_head; the head itself when all is placed."""
        if self.embedded is None or self.projected is None:
            raise CompileError(
                "logits must be the product of the final norm and an embedding table; "
                "the graph has no such head"
            )
        hidden = self.projected.rows
        tied = self.embedded.variable.same_as(self.projected.variable)
        self._embeddings(self.form if tied else FullHead())
        layout = self.form.logits(self.sections, self.projected.variable)
        return lambda: Head(
            layout.kind,
            hidden.width,
            hidden.buffer.offset,
            layout.kernels,
            layout.places,
            layout.plane_width,
        )

    def _embeddings(self, form: HeadForm) -> None:
        """The section and the step of the token embeddings: the sections from here on are of tables."""
        if self.embedded is None:
            raise CompileError("the graph looks no tokens up in a table")
        self.sections.weights.end_body()
        rows = self.embedded.rows
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
