"""What a ternary product does with its dequantised rows before it stores them, in canonical float order.

A dequantised value is ``y = f32(acc - sum(q)) * (w_scale / s)``. Products feed no addition but through
``mul`` or ``fence``, so that no tier contracts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm.script import tirx as T

from .float_ops import Expr, constant, exp, fence, lanes_of, splat


@dataclass(frozen=True)
class Epilogue:
    """``combine(before, *ys)``: the vector to store, from the output before and one y per block of a unit."""

    blocks: int
    combine: Callable[..., Expr]


def dequantize(accumulator: Expr, code_sum: Expr, weight_scale: Expr, scale: Expr) -> Expr:
    """Integer rows of one token to floats; the accumulator is over codes (trit + 1), which adds sum(q)."""
    lanes = lanes_of(accumulator)
    exact = T.cast(accumulator - splat(code_sum, lanes), f"float32x{lanes}")
    return exact * splat(weight_scale / scale, lanes)


def _store(before: Expr, y: Expr) -> Expr:
    return y


def _residual(before: Expr, y: Expr) -> Expr:
    return before + fence(y)


def _relu2_mul(before: Expr, gate: Expr, up: Expr) -> Expr:
    positive = T.max(gate, constant(0.0, lanes_of(gate)))
    return positive * positive * up


def _silu_mul(before: Expr, gate: Expr, up: Expr) -> Expr:
    lanes = lanes_of(gate)
    zero, one = constant(0.0, lanes), constant(1.0, lanes)
    e = exp(T.Select(gate >= zero, zero - gate, gate))  # exp(-|gate|): never overflows
    sigmoid = T.Select(gate >= zero, one, e) / (one + e)
    return gate * sigmoid * up


EPILOGUES: dict[str, Epilogue] = {
    "store": Epilogue(1, _store),
    "residual": Epilogue(1, _residual),
    "relu2_mul": Epilogue(2, _relu2_mul),
    "silu_mul": Epilogue(2, _silu_mul),
}
