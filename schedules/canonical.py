"""Any TIR statement in canonical float arithmetic: what `float_ops` demands, done to code that TVM wrote.

Relax's legalised operators multiply, add and call `T.exp` as they like. Here every product and every sum that
feeds another sum is fenced, and every function becomes ours, so that the statement gives the same bits on
every tier however it is scheduled. What has no canonical form is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.script import tirx as T

from edgebit.errors import CompileError

from . import float_functions as functions
from .float_ops import Expr, fence, mul

_FLOAT = "float32"
DTYPES = ("float32", "int8", "uint8", "int16", "int32", "uint32", "int64", "bool")
"""Of values that a kernel may compute with."""

_FUNCTIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "exp": functions.exponential,
    "sigmoid": functions.sigmoid,
    "tanh": functions.tanh,
    "erf": functions.erf,
    "log": functions.log,
    "sin": functions.sin,
    "cos": functions.cos,
    "fabs": functions.absolute,
    "round": functions.round_even,  # ONNX's Round: TVM's importer has no other
    "nearbyint": functions.round_even,
    "floor": functions.floor,
    "ceil": functions.ceil,
    "trunc": functions.truncate,
    "isnan": lambda x: x != x,
    "sqrt": T.sqrt,
    "rsqrt": lambda x: T.float32(1.0) / T.sqrt(x),
}
_EXACT = {
    "if_then_else",
    "likely",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_not",
    "shift_left",
    "shift_right",
    "reinterpret",
}
"""Calls that compute no floats."""

_INTEGERS: Mapping[str, tuple[float, float]] = {
    "int8": (-128.0, 127.0),
    "uint8": (0.0, 255.0),
    "int16": (-32768.0, 32767.0),
    "int32": (-2147483648.0, 2147483520.0),
    "uint32": (0.0, 4294967040.0),
    "int64": (-9223372036854775808.0, 9223371487098961920.0),
}
"""The floats an integer type holds: where casts saturate."""

_MOST_FACTORS = 16  # of a power that is multiplied out


def canonical(statement: tirx.Stmt) -> tirx.Stmt:
    """``statement`` (scalar, not yet vectorised) with canonical arithmetic.

    Raises CompileError naming the function or type that has none.
    """
    rules = (
        (tirx.Mul, _product),
        ((tirx.Add, tirx.Sub), _sum),
        (tirx.Cast, _cast),
        (TensorLoad, _load),
        (Call, _call),
    )
    try:
        return tvm_ffi.structural_map(statement, rules)
    except (
        RuntimeError
    ) as error:  # what a rule raises comes back as one: TVM passes on nothing but its sentence
        raise CompileError(str(error)) from error


def _dtype(expression: Expr) -> str:
    return str(expression.ty.dtype)


def _product(product: tirx.Mul) -> Expr:
    return mul(product.a, product.b) if _dtype(product) == _FLOAT else product


def _sum(value: Expr) -> Expr:
    """TVM simplifies (a + b) - b to a: a sum of sums is fenced as a sum of products is."""
    if _dtype(value) != _FLOAT:
        return value
    a, b = (fence(x) if isinstance(x, tirx.Add | tirx.Sub) else x for x in (value.a, value.b))
    return type(value)(a, b)


def _cast(cast: tirx.Cast) -> Expr:
    source, target = _dtype(cast.value), _dtype(cast)
    _check(target)
    if source == _FLOAT and target == "bool":
        return cast.value != T.float32(0.0)
    if source == _FLOAT and target in _INTEGERS:
        return functions.to_integer(cast.value, target, *_INTEGERS[target])
    return cast


def _load(load: TensorLoad) -> Expr:
    _check(_dtype(load))
    return load


def _check(dtype: str) -> None:
    if dtype not in DTYPES:
        raise CompileError(f"{dtype} values: kernels compute with {', '.join(DTYPES)}; cast to float32")


def _call(call: Call) -> Expr:
    name = str(call.op.name).partition(".")[2]
    if name == "pow":
        return _power(*call.args)
    if _dtype(call) != _FLOAT and name in ("floor", "ceil", "round", "trunc"):
        return call.args[0]
    if name in _FUNCTIONS and all(_dtype(argument) == _FLOAT for argument in call.args):
        return _once(call.args[0], _FUNCTIONS[name])
    if name in _EXACT or name.startswith(("call_llvm", "llvm")):
        return call
    raise CompileError(
        f"function {name} of {_dtype(call)}: it has no form with equal bits on every CPU; "
        f"there are {', '.join(sorted(_FUNCTIONS))} and powers by constants"
    )


def _once(argument: Expr, function: Callable[[Expr], Expr]) -> Expr:
    """``function`` of a variable, which reads it many times: functions of functions would multiply."""
    if isinstance(argument, tirx.Var | TensorLoad):
        return function(argument)
    bound = tirx.Var("x", argument.ty)
    return tirx.Let(bound, argument, function(bound))


def _power(base: Expr, exponent: Expr) -> Expr:
    if not isinstance(exponent, tirx.FloatImm) or _dtype(base) != _FLOAT:
        raise CompileError(
            "a power by a tensor, or of integers: only floats to a constant power have one form"
        )
    value = float(exponent.value)
    if abs(value) == 0.5:
        root = T.sqrt(base)
        return root if value > 0 else T.float32(1.0) / root
    if value != int(value) or not 0 < abs(value) <= _MOST_FACTORS:
        raise CompileError(
            f"a power by {value}: powers are ±0.5 and whole numbers to {_MOST_FACTORS}; "
            "write others as Exp of a product"
        )
    result = base
    for _ in range(int(abs(value)) - 1):
        result = mul(result, base)
    return result if value > 0 else T.float32(1.0) / result
