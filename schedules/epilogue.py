"""What a ternary product does with its dequantised rows before it stores them, in canonical float order.

A dequantised value is ``y = f32(acc - sum(q)) * (w_scale / s)``. Products feed no addition but through
``mul`` or ``fence``, so that no tier contracts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tvm.script import tirx as T

from .float_ops import Expr, constant, exp, fence, lanes_of, mul, splat

_TWICE_ROOT_2_PI = 1.5957691216057308


@dataclass(frozen=True)
class Epilogue:
    """``combine(before, *ys)``: the vector to store, from the output before and one y per block of a unit.
    ``by_row``: accumulators have a weight scale for each row, not one for a block.
    """

    blocks: int
    combine: Callable[..., Expr]
    by_row: bool = False


def dequantize(accumulator: Expr, code_sum: Expr, weight_scale: Expr, scale: Expr) -> Expr:
    """Integer rows of one token to floats; the accumulator is over codes (trit + 1), which adds sum(q)."""
    lanes = lanes_of(accumulator)
    exact = T.cast(accumulator - splat(code_sum, lanes), f"float32x{lanes}")
    if lanes_of(weight_scale) == lanes:
        return exact * (weight_scale / splat(scale, lanes))
    return exact * splat(weight_scale / scale, lanes)


def _store(before: Expr, y: Expr) -> Expr:
    return y


def _residual(before: Expr, y: Expr) -> Expr:
    return before + fence(y)


def relu2(x: Expr) -> Expr:
    positive = T.max(x, constant(0.0, lanes_of(x)))
    return positive * positive


def silu(x: Expr) -> Expr:
    return x * _sigmoid(x)


def gelu_tanh(x: Expr) -> Expr:
    """x · ½(1 + tanh(√(2/π)·(x + 0.044715·x³))); ½(1 + tanh(u)) is the sigmoid of 2u."""
    lanes = lanes_of(x)
    cubic = mul(x * x * x, constant(0.044715, lanes))
    return x * _sigmoid((fence(x) + cubic) * constant(_TWICE_ROOT_2_PI, lanes))


def _sigmoid(x: Expr) -> Expr:
    lanes = lanes_of(x)
    zero, one = constant(0.0, lanes), constant(1.0, lanes)
    e = exp(T.Select(x >= zero, zero - x, x))  # exp(-|x|): never overflows
    return T.Select(x >= zero, one, e) / (one + e)


ACTIVATIONS: dict[str, Callable[[Expr], Expr]] = {"relu2": relu2, "silu": silu, "gelu_tanh": gelu_tanh}


def _times(activation: Callable[[Expr], Expr]) -> Callable[..., Expr]:
    def combine(before: Expr, gate: Expr, up: Expr) -> Expr:
        return activation(gate) * up

    return combine


_EPILOGUES = {
    "store": Epilogue(1, _store),
    "residual": Epilogue(1, _residual),
    **{f"{name}_mul": Epilogue(2, _times(activation)) for name, activation in ACTIVATIONS.items()},
}

EPILOGUES: dict[str, Epilogue] = {
    **_EPILOGUES,
    **{f"{name}_by_row": replace(epilogue, by_row=True) for name, epilogue in _EPILOGUES.items()},
}
