"""Calls of fused functions → the steps of a run over static buffers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax, tirx

from edgebit.compiler.arena import Arena, InArena, Operand, resolve
from edgebit.compiler.general.linear import add_codes, add_float_linear, add_linear
from edgebit.compiler.general.stages import MOST_BUFFERS, Stage, stages_of
from edgebit.compiler.general.values import Codes, Value
from edgebit.compiler.importer import ImportedGraph
from edgebit.compiler.memory import Buffer
from edgebit.compiler.plan import (
    BEGIN,
    COUNT,
    ITEM_BYTES,
    NO_LOGITS,
    Argument,
    KernelInstance,
    Plan,
    Scalar,
    Space,
    Tensor,
    constant,
)
from edgebit.compiler.sections import Sections
from edgebit.compiler.steps import StepList
from edgebit.compiler.weights import Weights
from edgebit.errors import CompileError
from edgebit.schedules.default_schedule import read_nest

Held = Value | Codes | tuple[Value, ...]


def plan_tensors(
    graph: ImportedGraph,
    module: tvm.IRModule,
    initializers: Mapping[str, ir.Value],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> tuple[Plan, Weights]:
    """The plan of ``module`` (`legalize`), whose ``main`` takes ``inputs`` and then parameters and returns a
    tuple of ``outputs``. Raises CompileError naming the node that cannot be planned.
    """
    return GraphPlanner(module, Sections(graph, initializers)).run(inputs, outputs)


class GraphPlanner:
    """Values of ``main`` so far, and the steps that make them."""

    def __init__(self, module: tvm.IRModule, sections: Sections) -> None:
        self.module = module
        self.sections = sections
        self.arena = Arena()
        self.steps = StepList(self.arena)
        self.time = 0
        self.values: dict[relax.Var, Held] = {}
        self.kept: list[Buffer] = []
        self.multiplications = 0

    def run(self, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Plan, Weights]:
        main = self.module["main"]
        entered = [self._input(name, variable) for name, variable in zip(inputs, main.params, strict=False)]
        for block in main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self._bind(binding.var, binding.value)
        result = self.values[main.body.body]
        assert isinstance(result, tuple)
        left = list(zip(outputs, result, strict=True))
        self._keep([value.operand for _, value in left])
        size = self.arena.place()
        plan = Plan(
            vocab_size=0,
            hidden_size=0,
            num_layers=0,
            context=0,
            kv="none",
            decode=(),
            prefill=(),
            head=(),
            logits=NO_LOGITS,
            arena_bytes=size,
            cache_bytes=0,
            scratch_bytes=0,
            run=self.steps.placed(),
            inputs=tuple(_tensor(name, value) for name, value in entered),
            outputs=tuple(_tensor(name, value) for name, value in left),
            multiplications=self.multiplications,
        )
        return plan, self.sections.weights

    def dense(self, name: str, shape: Sequence[int], dtype: str) -> Value:
        """A new value in the arena."""
        size = max(1, prod(shape)) * ITEM_BYTES[dtype]
        return Value(InArena(self.arena.buffer(name, size)), tuple(shape), dtype)

    def kept_zeros(self, name: str, size: int) -> InArena:
        """Memory of one's own, zero before the first run: who fills part of it finds the rest still zero."""
        buffer = self.arena.buffer(name, size)
        buffer.touch(0)
        self.kept.append(buffer)
        return InArena(buffer)

    def add_stage(self, label: str, stage: Stage, operands: Sequence[Operand]) -> None:
        """One step of a function of one block."""
        if len(operands) > MOST_BUFFERS:
            raise CompileError(
                f"node {label}: reads and writes {len(operands)} tensors, a kernel has {MOST_BUFFERS}"
            )
        nest = read_nest(stage.function)
        self.multiplications += nest.operations
        name = _identifier(f"{stage.name}_{digest(stage.function)}")
        kernel = KernelInstance("stage", (("of", name),), stage.function)
        self.add(f"{label}.{stage.name}", kernel, nest.units, operands, [COUNT, BEGIN])

    def add(
        self,
        label: str,
        kernel: KernelInstance,
        units: int,
        operands: Sequence[Operand],
        scalars: Sequence[Scalar],
        grain: int = 1,
    ) -> None:
        self.time += 1
        self.steps.add(self.time, label, kernel, constant(units), operands, scalars, grain)

    def value(self, expression: Any) -> Value:
        """Of a variable, or a constant, which goes into the weights."""
        if isinstance(expression, tvm.ir.GenericConst):
            return self._constant(expression)
        found = self.values.get(expression)
        if not isinstance(found, Value):
            raise CompileError(f"node {expression}: its value is no tensor that is held")
        return found

    def _input(self, name: str, variable: relax.Var) -> tuple[str, Value]:
        value = self.dense(name, _shape(variable), str(variable.ty.dtype))
        self.arena.touch([value.operand], 0)
        self.values[variable] = value
        return name, value

    def _keep(self, operands: Sequence[Operand]) -> None:
        """Outputs live to the end, memory of one's own all the time."""
        self.arena.touch(operands, self.time + 1)
        for buffer in self.kept:
            buffer.touch(self.time + 1)

    def _constant(self, expression: tvm.ir.GenericConst) -> Value:
        data = np.ascontiguousarray(expression.value.numpy())
        if data.dtype == np.bool_:
            data = data.view(np.uint8)
        raw = data.astype(data.dtype.newbyteorder("<")).tobytes()
        name = f"constant.{hashlib.sha256(raw + str(data.dtype).encode()).hexdigest()[:16]}"
        offset = self.sections.weights.add(name, max(1, len(raw)), lambda: iter([raw or b"\0"]))
        return Value(Argument(Space.WEIGHTS, offset), tuple(data.shape), str(expression.ty.dtype))

    def _bind(self, variable: relax.Var, value: Any) -> Held:
        if isinstance(value, relax.Tuple):
            return tuple(self.value(field) for field in value.fields)
        if isinstance(value, relax.TupleGetItem):
            whole = self.values[value.tuple_value]
            return whole[value.index] if isinstance(whole, tuple) else whole
        if isinstance(value, relax.Var | tvm.ir.GenericConst):
            return self.value(value)
        lower: dict[str, Callable[[relax.Var, relax.Call], Held]] = {
            "relax.reshape": self._reshape,
            "relax.call_tir": self._call,
            "edgebit.linear": self._linear,
            "edgebit.float_linear": self._float_linear,
            "edgebit.quantize_activation": self._quantize,
        }
        if not isinstance(value, relax.Call) or str(value.op.name) not in lower:
            raise CompileError(f"node {variable.name}: {value} has no kernel")
        return lower[str(value.op.name)](variable, value)

    def _reshape(self, variable: relax.Var, call: relax.Call) -> Value:
        source = self.value(call.args[0])
        return Value(source.operand, _shape(variable), source.dtype)

    def _call(self, variable: relax.Var, call: relax.Call) -> Value | tuple[Value, ...]:
        function: tirx.PrimFunc = self.module[call.args[0]]
        arguments = [self.value(argument) for argument in call.args[1].fields]
        types = list(variable.ty.fields) if isinstance(variable.ty, relax.TupleType) else [variable.ty]
        results = [
            self.dense(f"{variable.name}.{i}", [int(size) for size in each.shape.values], str(each.dtype))
            for i, each in enumerate(types)
        ]
        places = {
            parameter: value.operand
            for parameter, value in zip(function.params, [*arguments, *results], strict=True)
        }
        for stage in stages_of(function):
            for buffer in stage.buffers:
                if buffer not in places:
                    shape = [int(size) for size in buffer.shape]
                    name = f"{variable.name}.{buffer.name}"
                    places[buffer] = self.dense(name, shape, str(buffer.dtype)).operand
            self.add_stage(variable.name, stage, [places[buffer] for buffer in stage.buffers])
        return tuple(results) if isinstance(variable.ty, relax.TupleType) else results[0]

    def _quantize(self, variable: relax.Var, call: relax.Call) -> Codes:
        return add_codes(self, variable.name, self.value(call.args[0]))

    def _linear(self, variable: relax.Var, call: relax.Call) -> Value:
        codes, _scale, weight, weight_scale = call.args
        held = self.values.get(codes)
        if not isinstance(held, Codes):
            raise CompileError(f"node {variable.name}: its codes are not those of QuantizeActivation")
        self.multiplications += held.rows * held.features * _shape(variable)[-1]
        return add_linear(self, variable.name, held, weight, weight_scale)

    def _float_linear(self, variable: relax.Var, call: relax.Call) -> Value:
        source, weight, weight_scale = call.args
        x = self.value(source)
        self.multiplications += x.rows * x.shape[-1] * _shape(variable)[-1]
        return add_float_linear(self, variable.name, x, weight, weight_scale)


def digest(function: tirx.PrimFunc) -> str:
    return hashlib.sha256(function.script().encode()).hexdigest()[:12]


def _tensor(name: str, value: Value) -> Tensor:
    return Tensor(name, value.dtype, value.shape, resolve([value.operand])[0])


def _shape(variable: relax.Var) -> tuple[int, ...]:
    return tuple(int(size) for size in variable.ty.shape.values)


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
