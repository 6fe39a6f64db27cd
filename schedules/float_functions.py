"""Elementary functions of float32 with one meaning on every CPU, for graphs of any operators.

As `float_ops`, of which they are made: fixed orders, no library calls, any lane count. Errors were found by
trying every 16th float of the range given, against double precision.
"""

from __future__ import annotations

import math

from tvm.script import tirx as T

from .float_ops import Expr, constant, exp, fence, lanes_of, mul, splat

_INTEGRAL = 8388608.0
"""2²³: from here on every float32 is an integer."""
_EXP_MAXIMUM = 88.72283935546875
"""The largest float32 whose exponential is finite."""
_TANH_POLYNOMIAL = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)
"""p of tanh(x) = x + x³·p(x²) on |x| ≤ 5/8 (Cephes, tanhf), highest power first."""
_TANH_SMALL = 0.625
_TANH_LARGE = 9.0
"""tanh is 1 in float32 from 9.011 on."""
_ERF_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
"""erf(x) = x · p(x²) / q(x²) on |x| ≤ 4 (the rational function of Eigen and XLA), highest power first."""
_LOG_POLYNOMIAL = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
"""p of log(1+f) = f - f²/2 + f³·p(f) on √½ - 1 ≤ f ≤ √2 - 1 (Cephes, logf), highest power first."""
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts; the product of the first with an exponent is exact."""
_SIN_POLYNOMIAL = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
"""p of sin(r) = r + r³·p(r²) on |r| ≤ π/4 (Cephes, sinf), highest power first."""
_COS_POLYNOMIAL = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
"""p of cos(r) = 1 - r²/2 + r⁴·p(r²) there (Cephes, cosf)."""
_LARGEST_ANGLE = 2.0**30
"""Beyond it float32 counts in steps of 20 turns: such a number says nothing of an angle."""
_HALF_PI = (1.570796251296997, 7.549789415861596e-08, 5.390302858158119e-15)
"""π/2 in three doubles, two of 23 bits: the products of these with an integer below 2³⁰ are exact."""
_MAGIC_DOUBLE = 1.5 * 2.0**52
"""As `float_ops.MAGIC`, for double precision."""


def absolute(x: Expr) -> Expr:
    return _floats(T.bitwise_and(_bits(x), _mask(0x7FFFFFFF, lanes_of(x))))


def exponential(x: Expr) -> Expr:
    """e^x for every x: +0 below -87, infinite where float32 is; within 1 ulp between."""
    lanes = lanes_of(x)
    largest = constant(_EXP_MAXIMUM, lanes)
    limited = exp(T.Select(x > largest, largest, x))
    finite = T.Select(x > largest, _floats(_mask(0x7F800000, lanes)), limited)
    return T.Select(x == x, finite, x)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x); the exponential is that of -|x| and never overflows."""
    lanes = lanes_of(x)
    one = constant(1.0, lanes)
    e = exp(constant(0.0, lanes) - absolute(x))
    return T.Select(x >= constant(0.0, lanes), one, e) / (one + e)


def tanh(x: Expr) -> Expr:
    """Within 2 ulp."""
    lanes = lanes_of(x)
    one, two = constant(1.0, lanes), constant(2.0, lanes)
    size = absolute(x)
    small = x + mul(mul(x, x) * x, _polynomial(mul(x, x), _TANH_POLYNOMIAL))
    limited = T.Select(size > constant(_TANH_LARGE, lanes), constant(_TANH_LARGE, lanes), size)
    e = exp(constant(0.0, lanes) - fence(limited + limited))
    large = one - two * e / (one + e)
    signed = _floats(T.bitwise_or(_bits(large), T.bitwise_and(_bits(x), _mask(0x80000000, lanes))))
    return T.Select(size < constant(_TANH_SMALL, lanes), small, signed)


def erf(x: Expr) -> Expr:
    """Within 4e-7, absolute."""
    lanes = lanes_of(x)
    four = constant(4.0, lanes)
    x = T.Select(x > four, four, T.Select(x < constant(-4.0, lanes), constant(-4.0, lanes), x))
    square = mul(x, x)
    y = x * _polynomial(square, _ERF_NUMERATOR) / _polynomial(square, _ERF_DENOMINATOR)
    one = constant(1.0, lanes)
    return T.Select(y > one, one, T.Select(y < constant(-1.0, lanes), constant(-1.0, lanes), y))


def log(x: Expr) -> Expr:
    """Natural logarithm, within 2 ulp; -∞ of 0, NaN of what is negative."""
    lanes = lanes_of(x)
    zero, one = constant(0.0, lanes), constant(1.0, lanes)
    tiny = x < _floats(_mask(0x00800000, lanes))  # denormal
    bits = _bits(T.Select(tiny, x * constant(2.0**23, lanes), x))
    # Exponent so that the mantissa lies in [√½, √2): bits of √½ are taken off, and put on again below.
    shifted = T.reinterpret(bits - _mask(0x3F3504F3, lanes), dtype=_typed("int32", lanes))
    exponent = T.cast(T.shift_right(shifted, splat(T.int32(23), lanes)), _typed("float32", lanes))
    mantissa = _floats(T.bitwise_and(_unsigned(shifted), _mask(0x007FFFFF, lanes)) + _mask(0x3F3504F3, lanes))
    exponent = exponent - T.Select(tiny, constant(23.0, lanes), zero)
    f = mantissa - one
    square = mul(f, f)
    y = mul(mul(square, f), _polynomial(f, _LOG_POLYNOMIAL)) + mul(exponent, constant(_LN2_LOW, lanes))
    y = y - mul(square, constant(0.5, lanes))
    y = (f + y) + mul(exponent, constant(_LN2_HIGH, lanes))
    infinite = _floats(_mask(0x7F800000, lanes))
    y = T.Select(x == infinite, infinite, y)
    y = T.Select(x == zero, _floats(_mask(0xFF800000, lanes)), y)
    return T.Select(x >= zero, y, _floats(_mask(0x7FC00000, lanes)))


def sin(x: Expr) -> Expr:
    """Within 1.6 ulp for |x| ≤ 2³⁰; NaN beyond."""
    return _sine(x, 0)


def cos(x: Expr) -> Expr:
    """Within 1.6 ulp for |x| ≤ 2³⁰; NaN beyond."""
    return _sine(x, 1)


def _sine(x: Expr, quarters: int) -> Expr:
    """sin(x + quarters · π/2). Cody and Waite: x = n · π/2 + r in double precision, which every CPU has; then
    a polynomial of r for each parity of n.
    """
    lanes = lanes_of(x)

    def double(value: float) -> Expr:
        return splat(T.float64(value), lanes)

    known = absolute(x) <= constant(_LARGEST_ANGLE, lanes)
    angle = T.cast(T.Select(known, x, constant(0.0, lanes)), _typed("float64", lanes))
    n = fence(mul(angle, double(2 / math.pi)) + double(_MAGIC_DOUBLE)) - double(_MAGIC_DOUBLE)
    for part in _HALF_PI:
        angle = angle - mul(n, double(part))
    quarter = T.cast(n, _typed("int32", lanes)) + splat(T.int32(quarters), lanes)
    r = T.cast(angle, _typed("float32", lanes))
    square = mul(r, r)
    sine = r + mul(mul(square, _polynomial(square, _SIN_POLYNOMIAL)), r)
    cosine = constant(1.0, lanes) - mul(square, constant(0.5, lanes))
    cosine = cosine + mul(mul(square, square), _polynomial(square, _COS_POLYNOMIAL))
    one, two = splat(T.int32(1), lanes), splat(T.int32(2), lanes)
    y = T.Select(T.bitwise_and(quarter, one) == one, cosine, sine)
    y = T.Select(T.bitwise_and(quarter, two) == two, constant(0.0, lanes) - y, y)
    return T.Select(known, y, _floats(_mask(0x7FC00000, lanes)))


def round_even(x: Expr) -> Expr:
    """To the nearest integer, ties to even; the sign of zero is that of `x`."""
    lanes = lanes_of(x)
    size = absolute(x)
    shift = constant(_INTEGRAL, lanes)
    rounded = fence(size + shift) - shift
    sign = T.bitwise_and(_bits(x), _mask(0x80000000, lanes))
    signed = _floats(T.bitwise_or(_bits(rounded), sign))
    return T.Select(size < shift, signed, x)


def floor(x: Expr) -> Expr:
    lanes = lanes_of(x)
    nearest = round_even(x)
    return T.Select(nearest > x, nearest - constant(1.0, lanes), nearest)


def ceil(x: Expr) -> Expr:
    lanes = lanes_of(x)
    nearest = round_even(x)
    return T.Select(nearest < x, nearest + constant(1.0, lanes), nearest)


def truncate(x: Expr) -> Expr:
    return T.Select(x < constant(0.0, lanes_of(x)), ceil(x), floor(x))


def to_integer(x: Expr, dtype: str, lowest: float, highest: float) -> Expr:
    """Towards zero; beyond the floats `lowest` and `highest` to these, 0 of NaN: CPUs disagree there."""
    lanes = lanes_of(x)
    low, high = constant(lowest, lanes), constant(highest, lanes)
    limited = T.Select(x > high, high, T.Select(x < low, low, x))
    return T.cast(T.Select(x == x, limited, constant(0.0, lanes)), _typed(dtype, lanes))


def _polynomial(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """Horner's rule, highest power first."""
    lanes = lanes_of(x)
    p = constant(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        p = mul(p, x) + constant(coefficient, lanes)
    return p


def _typed(kind: str, lanes: int) -> str:
    return kind if lanes == 1 else f"{kind}x{lanes}"


def _mask(value: int, lanes: int) -> Expr:
    return splat(T.uint32(value), lanes)


def _bits(x: Expr) -> Expr:
    return T.reinterpret(x, dtype=_typed("uint32", lanes_of(x)))


def _unsigned(x: Expr) -> Expr:
    return T.reinterpret(x, dtype=_typed("uint32", lanes_of(x)))


def _floats(bits: Expr) -> Expr:
    return T.reinterpret(bits, dtype=_typed("float32", lanes_of(bits)))
