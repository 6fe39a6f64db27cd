from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, edgebit_op, relax_op


class FuseGatedLinear(Rewrite):
    """Rules, for ``gate = linear(codes, scale, …)`` and ``up = linear(codes, scale, …)`` of the same codes:

    1. ``(relu(gate) · relu(gate)) · up`` → ``linear_gated(…, activation="relu2")``
    2. ``(gate · sigmoid(gate)) · up`` → ``linear_gated(…, activation="silu")``

    The rows of both weights interleave in blocks of 16, so that one kernel has a gate and its up value in
    registers.
    """

    def rules(self) -> Iterator[Rule]:
        codes, scale, gate_weight, gate_scale, up_weight, up_scale = anything(6)
        gate = edgebit_op("linear", codes, scale, gate_weight, gate_scale)
        up = edgebit_op("linear", codes, scale, up_weight, up_scale)
        operands = (codes, scale, gate_weight, gate_scale, up_weight, up_scale)
        relu = relax_op("nn.relu", gate)
        yield relax_op("multiply", relax_op("multiply", relu, relu), up), _gated(operands, "relu2")
        yield (
            relax_op("multiply", relax_op("multiply", gate, relax_op("sigmoid", gate)), up),
            _gated(operands, "silu"),
        )


def _gated(operands: tuple[DFPattern, ...], activation: str) -> Any:
    def replace(match: Match) -> Any:
        return call("linear_gated", [match[operand] for operand in operands], activation=activation)

    return replace
