"""Float32 building blocks with one meaning on every CPU: the only float arithmetic a kernel may use.

Each function takes and returns TIR expressions of any lane count and fixes the order of its operations, so
that LLVM gives the same bits on every tier. The rules:

1. A product that feeds an addition or subtraction goes through `mul`: TVM lets LLVM contract `a * b + c` to a
   fused multiply-add on the CPUs that have one, and no target flag stops it. Only provably exact products may
   be bare.
2. Rounding by a large constant needs a `fence`: TVM's simplifier turns `(x + M) - M` into `x`.
3. Never `T.exp`, `T.round`, a float-to-int cast or an estimate instruction: they differ between CPUs or call
   libm. Division, `T.sqrt` and comparisons are IEEE everywhere; `T.max` is `select(a > b, a, b)`.
4. A reduction has a fixed lane count and ends in `tree_sum`.

The rounding mode is to nearest even and denormals are on: the runtime sets both before it calls a kernel.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm.script import tirx as T

Expr: TypeAlias = Any
"""A TIR expression; TVM has no type information of its own."""

LANES = 16
"""Lanes of every vector whose lanes are summed, whatever the CPU's own width."""

PARTIALS = 4
"""Partial sums, each of LANES lanes, that a long sum is dealt to in turn."""

MAGIC = 12582912.0
"""1.5 · 2²³: adding it to |x| < 2²² leaves round-to-nearest-even(x) in the low bits of the sum."""

MASKED_SCORE = -1e30
"""Attention score of a key that must not be seen: finite, and `exp` of its distance to any maximum is 0."""

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693145751953125
"""16 significant bits of ln 2, so that k · _LN2_HIGH is exact for |k| < 256."""
_LN2_LOW = 1.4286068203094172e-06
_EXP_MINIMUM = -87.0
_EXP_COEFFICIENTS = (
    0.0013814540579915047,
    0.00836874544620514,
    0.04166838899254799,
    0.1666652113199234,
    0.4999999403953552,
)
"""p(r) of exp(r) = 1 + r + r²·p(r), highest power first: minimax of the relative error on
|r| ≤ ln2 / 2 (Lawson's iteration in double precision, rounded to float32). Largest error of `exp` found on
[-87, 0]: 0.98 ulp."""

_EXP2_COEFFICIENTS = (0.00958283618092537, 0.05590641498565674, 0.24024099111557007, 0.6931241750717163)
"""q(f) of 2^f = 1 + f·q(f), highest power first, found likewise on |f| ≤ 1/2: relative error 2⁻¹⁸."""
_EXP_ROUNDED_MINIMUM = -44.0
"""e^x is above 2⁻⁶⁴ down to here."""

_SMALLEST_ROUNDED = (127 - 64) << 23
"""Bits of 2⁻⁶⁴, below which `round_significant` gives 0: products of rounded values stay exact."""
_F16_MAXIMUM = 0x477FE000
"""Bits of 65504, the largest finite float16."""


def lanes_of(x: Expr) -> int:
    """Lane count of an expression; 1 for a scalar."""
    return int(x.ty.dtype.lanes)


def splat(value: Expr, lanes: int) -> Expr:
    """A scalar in every lane; the scalar itself where lanes is 1."""
    return value if lanes == 1 else T.broadcast(value, lanes)


def constant(value: float, lanes: int) -> Expr:
    """A float32 constant in every lane."""
    return splat(T.float32(value), lanes)


def fence(x: Expr) -> Expr:
    """`x`, opaque to every rewriting of TVM and LLVM."""
    intrinsic = T.llvm_lookup_intrinsic_id("llvm.arithmetic.fence")
    return T.call_llvm_pure_intrin(intrinsic, x, dtype=str(x.ty.dtype))


def mul(a: Expr, b: Expr) -> Expr:
    """Rounded product that may feed an addition: never contracted to a fused multiply-add."""
    return fence(a * b)


def vector(index: Expr, lanes: int) -> Expr:
    """Index of `lanes` consecutive elements from `index` on."""
    return T.ramp(index, 1, lanes)


ALL = vector(0, LANES)
"""Index of all lanes of a row of LANES elements."""


def sum_partials(partial: Expr, index: tuple[Expr, ...]) -> Expr:
    """((a0 + a1) + (a2 + a3)) of the partial sums a_j = partial[j, *index]."""
    a = [partial[(j, *index)] for j in range(PARTIALS)]
    return (a[0] + a[1]) + (a[2] + a[3])


def tree_sum(x: Expr) -> Expr:
    """Sum of a vector's lanes in the canonical order: upper half onto lower half until one is left."""
    lanes = lanes_of(x)
    while lanes > 2:
        lanes //= 2
        half = _typed("float32", lanes)
        x = T.vectorlow(x, dtype=half) + T.vectorhigh(x, dtype=half)
    return T.Shuffle([x], [0]) + T.Shuffle([x], [1])


def tree_max(x: Expr) -> Expr:
    """Largest of a vector's lanes, finite or -∞."""
    lanes = lanes_of(x)
    while lanes > 2:
        lanes //= 2
        half = _typed("float32", lanes)
        x = T.max(T.vectorlow(x, dtype=half), T.vectorhigh(x, dtype=half))
    return T.max(T.Shuffle([x], [0]), T.Shuffle([x], [1]))


def exp(x: Expr) -> Expr:
    """e^x for x ≤ 0 (valid to 88), within 1 ulp; +0 below -87.

    x = k·ln2 + r with the integer k rounded by `MAGIC`; a polynomial in r; k added to the exponent.
    """
    lanes = lanes_of(x)
    rounded = fence(mul(x, constant(_LOG2_E, lanes)) + constant(MAGIC, lanes))
    k = rounded - constant(MAGIC, lanes)
    r = x - mul(k, constant(_LN2_HIGH, lanes))
    r = r - mul(k, constant(_LN2_LOW, lanes))
    p = constant(_EXP_COEFFICIENTS[0], lanes)
    for coefficient in _EXP_COEFFICIENTS[1:]:
        p = mul(p, r) + constant(coefficient, lanes)
    p = mul(mul(p, r), r) + r
    p = p + constant(1.0, lanes)
    exponent = T.shift_left(_bits(rounded), _mask(23, lanes))  # MAGIC's own low bits are 0
    result = _floats(_bits(p) + exponent)
    return T.Select(x < constant(_EXP_MINIMUM, lanes), constant(0.0, lanes), result)


def exp_rounded(x: Expr, bits: int) -> Expr:
    """e^x for x ≤ 0 with `bits` ≤ 16 significant bits: 2^k·2^f within 2⁻¹⁸, rounded to nearest, ties up.

    0 below -44, so that products of the result stay exact (`round_significant`). Half the price of `exp`.
    """
    lanes = lanes_of(x)
    power = mul(x, constant(_LOG2_E, lanes))
    rounded = fence(power + constant(MAGIC, lanes))
    f = power - (rounded - constant(MAGIC, lanes))
    p = constant(_EXP2_COEFFICIENTS[0], lanes)
    for coefficient in (*_EXP2_COEFFICIENTS[1:], 1.0):
        p = mul(p, f) + constant(coefficient, lanes)
    half = 1 << (23 - bits)
    u = T.shift_left(_bits(rounded), _mask(23, lanes)) + _bits(p) + _mask(half, lanes)
    result = _floats(T.bitwise_and(u, _mask(0x100000000 - 2 * half, lanes)))
    return T.Select(x < constant(_EXP_ROUNDED_MINIMUM, lanes), constant(0.0, lanes), result)


def round_significant(x: Expr, bits: int) -> Expr:
    """`x` to `bits` significant bits, to nearest even; 0 where |x| < 2⁻⁶⁴.

    A product of two values whose bits add up to 24 is exact, and a fused multiply-add is then the same as a
    product and a sum: kernels multiply such values without a fence.
    """
    lanes = lanes_of(x)
    dropped = 24 - bits
    u = _bits(x)
    odd = T.bitwise_and(T.shift_right(u, _mask(dropped, lanes)), _mask(1, lanes))
    rounded = T.bitwise_and(
        u + _mask((1 << (dropped - 1)) - 1, lanes) + odd, _mask(0xFFFFFFFF - ((1 << dropped) - 1), lanes)
    )
    small = _magnitude(u) < _mask(_SMALLEST_ROUNDED, lanes)
    return T.Select(small, constant(0.0, lanes), _floats(rounded))


def absolute_bits(x: Expr) -> Expr:
    """|x| as an int32 that orders as |x| does: the maximum of magnitudes is one integer maximum."""
    lanes = lanes_of(x)
    return T.bitwise_and(T.reinterpret(x, dtype=_typed("int32", lanes)), splat(T.int32(0x7FFFFFFF), lanes))


def quantize(x: Expr, scale: Expr) -> Expr:
    """int8 of round-to-nearest-even(x · scale); |x · scale| ≤ 127.5. `scale` has x's lanes."""
    lanes = lanes_of(x)
    shifted = mul(x, scale) + constant(MAGIC, lanes)
    return T.cast(T.reinterpret(shifted, dtype=_typed("int32", lanes)), _typed("int8", lanes))


def bf16_to_f32(x: Expr) -> Expr:
    """bfloat16 held in uint16 → float32, exact."""
    lanes = lanes_of(x)
    return _floats(T.shift_left(T.cast(x, _typed("uint32", lanes)), _mask(16, lanes)))


def f16_to_f32(x: Expr, native: bool) -> Expr:
    """Finite float16 held in uint16 → float32, exact. `native`: the CPU has the conversion."""
    lanes = lanes_of(x)
    if native:
        return T.cast(T.reinterpret(x, dtype=_typed("float16", lanes)), _typed("float32", lanes))
    # Sign extension leaves copies of the sign above; the mask keeps one of them, exponent and fraction.
    extended = T.cast(T.reinterpret(x, dtype=_typed("int16", lanes)), _typed("int32", lanes))
    unsigned = T.cast(extended, _typed("uint32", lanes))
    shifted = T.bitwise_and(T.shift_left(unsigned, _mask(13, lanes)), _mask(0x8FFFE000, lanes))
    return _floats(shifted) * constant(2.0**112, lanes)


def f32_to_f16(x: Expr, native: bool) -> Expr:
    """float32 → float16 held in uint16, to nearest even; beyond ±65504 → ±65504, so the result is finite."""
    lanes = lanes_of(x)
    sign = T.bitwise_and(_bits(x), _mask(0x80000000, lanes))
    magnitude = T.min(_magnitude(_bits(x)), _mask(_F16_MAXIMUM, lanes))
    if native:
        clamped = _floats(T.bitwise_or(magnitude, sign))
        return T.reinterpret(T.cast(clamped, _typed("float16", lanes)), dtype=_typed("uint16", lanes))
    odd = T.bitwise_and(T.shift_right(magnitude, _mask(13, lanes)), _mask(1, lanes))
    normal = T.shift_right(magnitude - _mask(112 << 23, lanes) + _mask(0xFFF, lanes) + odd, _mask(13, lanes))
    # The last place of 0.5 is 2⁻²⁴, the step of float16 denormals: the addition rounds to it.
    denormal = _bits(_floats(magnitude) + constant(0.5, lanes)) - _mask(126 << 23, lanes)
    half = T.Select(magnitude < _mask(113 << 23, lanes), denormal, normal)
    return T.cast(T.bitwise_or(half, T.shift_right(sign, _mask(16, lanes))), _typed("uint16", lanes))


def canonical_nan(x: Expr) -> Expr:
    """`x` with every NaN replaced by 0x7FC00000: CPUs disagree on sign and payload of the NaNs they make."""
    lanes = lanes_of(x)
    is_nan = _magnitude(_bits(x)) > _mask(0x7F800000, lanes)
    return T.Select(is_nan, _floats(_mask(0x7FC00000, lanes)), x)


def _typed(kind: str, lanes: int) -> str:
    return kind if lanes == 1 else f"{kind}x{lanes}"


def _mask(value: int, lanes: int) -> Expr:
    return splat(T.uint32(value), lanes)


def _bits(x: Expr) -> Expr:
    return T.reinterpret(x, dtype=_typed("uint32", lanes_of(x)))


def _floats(bits: Expr) -> Expr:
    return T.reinterpret(bits, dtype=_typed("float32", lanes_of(bits)))


def _magnitude(bits: Expr) -> Expr:
    return T.bitwise_and(bits, _mask(0x7FFFFFFF, lanes_of(bits)))
