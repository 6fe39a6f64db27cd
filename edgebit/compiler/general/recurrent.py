"""LSTM, GRU and RNN: one step after the other, each a product of the state and a few functions of the gates.

Of the standard's variants those that frameworks export: forward, reverse or both, default functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op

from edgebit.compiler.converters import Attributes, Converter, Converters, Inputs
from edgebit.compiler.general.moves import concatenated, sizes
from edgebit.errors import CompileError

_DIRECTIONS = {b"forward": (False,), b"reverse": (True,), b"bidirectional": (False, True)}


@dataclass(frozen=True)
class _Cell:
    """What a direction has: ``recurrence`` [H, gates · H], and the bias of the state's product."""

    builder: relax.BlockBuilder
    hidden_size: int
    recurrence: Any
    state_bias: Any
    linear_before_reset: bool

    def gate(self, gates: Any, index: int) -> Any:
        first = index * self.hidden_size
        return op.strided_slice(gates, [1], [first], [first + self.hidden_size])

    def of_state(self, state: Any) -> Any:
        return self.builder.emit(op.add(op.matmul(state, self.recurrence), self.state_bias))


_States = tuple[Any, ...]  # the hidden state [B, H], of an LSTM also the cell state
_Step = Callable[[_Cell, Any, _States], _States]


def _lstm(cell: _Cell, given: Any, states: _States) -> _States:
    """Gates i, o, f, c."""
    gates = cell.builder.emit(op.add(given, cell.of_state(states[0])))
    i, o, f = (op.sigmoid(cell.gate(gates, index)) for index in range(3))
    kept = op.add(op.multiply(f, states[1]), op.multiply(i, op.tanh(cell.gate(gates, 3))))
    kept = cell.builder.emit(kept)
    return cell.builder.emit(op.multiply(o, op.tanh(kept))), kept


def _gru(cell: _Cell, given: Any, states: _States) -> _States:
    """Gates z, r, h; the reset gate before or behind the product of the state."""
    (state,) = states
    product = cell.of_state(state)
    z, r = (
        cell.builder.emit(op.sigmoid(op.add(cell.gate(given, index), cell.gate(product, index))))
        for index in range(2)
    )
    if cell.linear_before_reset:
        candidate = op.multiply(r, cell.gate(product, 2))
    else:
        candidate = cell.gate(cell.of_state(cell.builder.emit(op.multiply(r, state))), 2)
    h = cell.builder.emit(op.tanh(op.add(cell.gate(given, 2), candidate)))
    one = relax.const(np.float32(1))
    return (cell.builder.emit(op.add(op.multiply(op.subtract(one, z), h), op.multiply(z, state))),)


def _rnn(cell: _Cell, given: Any, states: _States) -> _States:
    return (cell.builder.emit(op.tanh(op.add(given, cell.of_state(states[0])))),)


def _recurrent(gates: int, functions: str, states: int, step: _Step) -> Converter:
    def converter(builder: relax.BlockBuilder, inputs: Inputs, attributes: Attributes) -> Any:
        _check(inputs, attributes, functions.encode().split(), states)
        given = [*inputs, *[None] * (5 + states - len(inputs))][: 5 + states]
        x, weight, recurrence, bias, _, *initial = given
        batch, hidden_size = sizes(x)[1], sizes(recurrence)[-1]
        width = gates * hidden_size
        outputs: list[Any] = []
        ends: list[_States] = []
        for index, is_reverse in enumerate(_DIRECTIONS[attributes.get("direction", b"forward")]):
            part = partial(_part, builder, index=index)
            biases = relax.const(np.zeros(2 * width, np.float32)) if bias is None else part(bias)
            cell = _Cell(
                builder,
                hidden_size,
                builder.emit(op.permute_dims(part(recurrence), [1, 0])),
                builder.emit(op.strided_slice(biases, [0], [width], [2 * width])),
                bool(attributes.get("linear_before_reset", 0)),
            )
            product = op.matmul(x, op.permute_dims(part(weight), [1, 0]))
            rows = builder.emit(op.add(product, op.strided_slice(biases, [0], [0], [width])))
            zero = relax.const(np.zeros((batch, hidden_size), np.float32))
            start = tuple(zero if value is None else part(value) for value in initial)
            made = _steps(cell, step, rows, start, is_reverse)
            ends.append(made[0] if is_reverse else made[-1])
            shape = [1, 1, batch, hidden_size]
            outputs.append(concatenated(builder, [op.reshape(state[0], shape) for state in made], 0))
        last = [
            concatenated(builder, [op.expand_dims(value, 0) for value in values], 0)
            for values in zip(*ends, strict=True)
        ]
        return relax.Tuple([concatenated(builder, outputs, 1), *last])

    return converter


def _part(builder: relax.BlockBuilder, value: Any, index: int) -> Any:
    """One of the first axis, without it."""
    return builder.emit(op.squeeze(op.strided_slice(value, [0], [index], [index + 1]), [0]))


def _steps(cell: _Cell, step: _Step, rows: Any, states: _States, is_reverse: bool) -> list[_States]:
    """The states behind each row, in the order of the rows."""
    made: list[_States] = []
    for time in range(sizes(rows)[0])[:: -1 if is_reverse else 1]:
        states = step(cell, _part(cell.builder, rows, time), states)
        made.append(states)
    return made[::-1] if is_reverse else made


def _check(inputs: Inputs, attributes: Attributes, functions: list[bytes], states: int) -> None:
    names = attributes.get("activations", ())
    if any(name != functions[i % len(functions)] for i, name in enumerate(names)):
        raise CompileError(
            f"activations other than {', '.join(f.decode() for f in functions)}: write out its steps"
        )
    for name in ("clip", "input_forget", "layout"):
        if attributes.get(name, 0):
            raise CompileError(f"{name}={attributes[name]} is not supported: export it without")
    lengths = inputs[4] if len(inputs) > 4 else None
    if lengths is not None:
        known = (
            isinstance(lengths, tvm.ir.GenericConst) and (lengths.value.numpy() == sizes(inputs[0])[0]).all()
        )
        if not known:
            raise CompileError("sequence_lens is not supported: texts of one call have one length")
    if len(inputs) > 5 + states and inputs[5 + states] is not None:
        raise CompileError("peepholes (P) are not supported: write out its steps")


RECURRENT: Converters = {
    ("", "LSTM"): _recurrent(4, "Sigmoid Tanh Tanh", 2, _lstm),
    ("", "GRU"): _recurrent(3, "Sigmoid Tanh", 1, _gru),
    ("", "RNN"): _recurrent(1, "Tanh", 1, _rnn),
}
