from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm.relax.dpl import DFPattern

from edgebit.compiler.operators import call
from edgebit.compiler.passes.rewrite import Match, Rewrite, Rule, anything, relax_op


class FuseGated(Rewrite):
    """Rules:

    1. ``(relu(gate) · relu(gate)) · up`` → ``gated(gate, up, activation="relu2")``
    2. ``(gate · sigmoid(gate)) · up`` → ``gated(…, activation="silu")``
    3. ``gelu_tanh(gate) · up`` → ``gated(…, activation="gelu_tanh")``
    """

    def rules(self) -> Iterator[Rule]:
        gate, up = anything(2)
        relu = relax_op("nn.relu", gate)
        activations = {
            "relu2": relax_op("multiply", relu, relu),
            "silu": relax_op("multiply", gate, relax_op("sigmoid", gate)),
            "gelu_tanh": relax_op("nn.gelu_tanh", gate),
        }
        for name, activation in activations.items():
            yield relax_op("multiply", activation, up), _gated(gate, up, name)


def _gated(gate: DFPattern, up: DFPattern, activation: str) -> Any:
    def replace(match: Match) -> Any:
        return call("gated", [match[gate], match[up]], activation=activation)

    return replace
