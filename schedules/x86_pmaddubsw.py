"""Micro-kernels of ``pmaddubsw``: codes (u8) with as many activations (i8) into half as many pair sums (i16).

A line of U16 weights is two ymm registers of 8 rows (AVX2) or four xmm registers of 4 rows (SSSE3). Pair sums
are accumulated in int16 over a *window* of lines, then widened. Overflow is impossible: with codes of at most
2 and -128 <= q <= 127 a pair sum lies in [-512, 508], a lane of an accumulator takes ``n`` of them, and for
n = 64 the range is [-32768, 32512]. ``pmaddubsw`` itself saturates at 32767 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tvm import tirx
from tvm.script import tirx as T

from .cache import Cache, prefetch
from .float_ops import Expr, fence, lanes_of, vector
from .tiles import LINES_MULTIPLE, ROWS, Tile

GEMV_WINDOW = 8
"""Lines: 2 fields a line, of which one is left at four times its value: 8 * 2 * 4 = 64 pair sums."""

GEMM_WINDOW = 16
"""Lines: 4 fields a line, all at their value: 16 * 4 = 64 pair sums."""

PREFETCH_DISTANCE = 64
"""Lines, 4 KB: the hardware stops at pages. Zen 3 reaches 89 % of its read bandwidth, 69 % without."""


@dataclass(frozen=True)
class Registers:
    """Vector registers of an x86 processor that hold ``rows`` rows of weights each."""

    rows: int
    maddubs: str  # LLVM's name of pmaddubsw and of pmaddwd
    maddwd: str

    @property
    def per_line(self) -> int:
        return ROWS // self.rows


YMM = Registers(8, "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")
XMM = Registers(4, "llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd")


@cache
def gemv_micro_kernel(tile: Tile, registers: Registers) -> tirx.PrimFunc:
    """Fields 0, 1 where they are and 2, 3 after one shift by 4; fields 1, 3 count fourfold until the end."""
    rows, parts = registers.rows, registers.per_line

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (1, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, 1, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0, 0:16], W[0, 0:lines, 0:16, 0:4], X[0, 0:lines, 0:4, 0:4])
            T.writes(C[0, 0, 0:16])
            pairs = T.alloc_buffer((parts, 2, rows * 2), "int16", scope="global")  # [part of a line][x1, x4]
            for window in range(T.ceildiv(lines, GEMV_WINDOW)):
                for h in T.unroll(parts):
                    for s in T.unroll(2):
                        pairs[h, s, vector(0, rows * 2)] = T.broadcast(T.int16(0), rows * 2)
                for l4 in range(T.min(lines - window * GEMV_WINDOW, GEMV_WINDOW) // LINES_MULTIPLE):
                    for l in T.unroll(LINES_MULTIPLE):
                        line = T.meta_var(window * GEMV_WINDOW + l4 * LINES_MULTIPLE + l)
                        prefetch(W[0, line + PREFETCH_DISTANCE, 0, 0], Cache.L1)
                        for h in T.unroll(parts):
                            part = T.meta_var(W.vload([0, line, h * rows, 0], f"uint8x{rows * 4}"))
                            for p in T.unroll(2):
                                for s in T.unroll(2):
                                    pairs[h, s, vector(0, rows * 2)] = pairs[
                                        h, s, vector(0, rows * 2)
                                    ] + _pmaddubsw(
                                        registers,
                                        T.bitwise_and(_shifted(part, p * 4), _field_mask(registers, s)),
                                        _four_everywhere(
                                            registers, X.vload([0, line, p * 2 + s, 0], "int8x4")
                                        ),
                                    )
                for h in T.unroll(parts):
                    C[0, 0, vector(h * rows, rows)] = (
                        C[0, 0, vector(h * rows, rows)]
                        + _sum_pairs(registers, pairs[h, 0, vector(0, rows * 2)])
                        + T.shift_right(
                            _sum_pairs(registers, pairs[h, 1, vector(0, rows * 2)]), T.broadcast(2, rows)
                        )
                    )

    return product.with_attr("global_symbol", f"gemv_u16_16x1_pmaddubsw{rows}")


@cache
def gemm_micro_kernel(tile: Tile, registers: Registers, small: int) -> tirx.PrimFunc:
    """A tile of more than ``small`` tokens passes over a window once for each field: with all fields in one
    loop LLVM sums pair sums before it adds them, and spills. The next block is prefetched meanwhile.
    """
    rows, parts = registers.rows, registers.per_line
    fields = 4 if tile.tokens <= small else 1
    passes = 4 // fields

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(weights: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        W = T.match_buffer(weights, (1, lines, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", offset_factor=1)
        C = T.match_buffer(acc, (1, tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0, 0 : tile.tokens, 0:16], W[0, 0:lines, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0, 0 : tile.tokens, 0:16])
            pairs = T.alloc_buffer((parts, tile.tokens, rows * 2), "int16", scope="global")
            for window in range(T.ceildiv(lines, GEMM_WINDOW)):
                for h in T.unroll(parts):
                    for m in T.unroll(tile.tokens):
                        pairs[h, m, vector(0, rows * 2)] = T.broadcast(T.int16(0), rows * 2)
                for p in range(passes):
                    # With the field in the index instead LLVM computes every address anew, and spills.
                    first: T.let = T.address_of(X[0, window * GEMM_WINDOW, p * fields, 0])
                    Q = T.decl_buffer((tile.tokens, lines, 4, 4), "int8", data=first)
                    for l in range(T.min(lines - window * GEMM_WINDOW, GEMM_WINDOW)):
                        prefetch(W[1, window * GEMM_WINDOW + (p * GEMM_WINDOW + l) // passes, 0, 0], Cache.L2)
                        for f in T.unroll(fields):
                            for m in T.unroll(tile.tokens):
                                four: T.let = _four_everywhere(registers, Q.vload([m, l, f, 0], "int8x4"))
                                for h in T.unroll(parts):
                                    part: T.let = W.vload(
                                        [0, window * GEMM_WINDOW + l, h * rows, 0], f"uint8x{rows * 4}"
                                    )
                                    codes: T.let = T.bitwise_and(
                                        _shifted(part, (p * fields + f) * 2), _field_mask(registers, 0)
                                    )
                                    pairs[h, m, vector(0, rows * 2)] = pairs[
                                        h, m, vector(0, rows * 2)
                                    ] + _pmaddubsw(registers, codes, four)
                for h in T.unroll(parts):
                    for m in T.unroll(tile.tokens):
                        C[0, m, vector(h * rows, rows)] = C[0, m, vector(h * rows, rows)] + _sum_pairs(
                            registers, pairs[h, m, vector(0, rows * 2)]
                        )

    return product.with_attr("global_symbol", f"gemm_u16_16x{tile.tokens}_pmaddubsw{rows}")


@cache
def panel_micro_kernel(tile: Tile, registers: Registers) -> tirx.PrimFunc:
    """A panel's window has at most GEMM_WINDOW lines: one accumulation in int16."""
    rows, parts = registers.rows, registers.per_line

    @T.prim_func(s_tir=True, check_well_formed=False)
    def product(codes: T.handle, q: T.handle, acc: T.handle) -> None:
        lines = T.int32()
        stride = T.int32()
        P = T.match_buffer(codes, (lines, 4, 16, 4), "uint8", offset_factor=1)
        X = T.match_buffer(q, (tile.tokens, lines, 4, 4), "int8", strides=[stride, 16, 4, 1], offset_factor=1)
        C = T.match_buffer(acc, (tile.tokens, 16), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0 : tile.tokens, 0:16], P[0:lines, 0:4, 0:16, 0:4],
                    X[0 : tile.tokens, 0:lines, 0:4, 0:4])  # fmt: skip
            T.writes(C[0 : tile.tokens, 0:16])
            pairs = T.alloc_buffer((parts, tile.tokens, rows * 2), "int16", scope="global")
            for h in T.unroll(parts):
                for m in T.unroll(tile.tokens):
                    pairs[h, m, vector(0, rows * 2)] = T.broadcast(T.int16(0), rows * 2)
            for f2 in range(lines * 2):  # two fields: with all four of a line LLVM spills
                for f in T.unroll(2):
                    for m in T.unroll(tile.tokens):
                        for h in T.unroll(parts):
                            pairs[h, m, vector(0, rows * 2)] = _opaque(
                                pairs[h, m, vector(0, rows * 2)]
                                + _pmaddubsw(
                                    registers,
                                    P.vload([0, f2 * 2 + f, h * rows, 0], f"uint8x{rows * 4}"),
                                    _four_everywhere(registers, X.vload([m, 0, f2 * 2 + f, 0], "int8x4")),
                                )
                            )
            for h in T.unroll(parts):
                for m in T.unroll(tile.tokens):
                    C[m, vector(h * rows, rows)] = C[m, vector(h * rows, rows)] + _sum_pairs(
                        registers, pairs[h, m, vector(0, rows * 2)]
                    )

    return product.with_attr("global_symbol", f"panel_u16_16x{tile.tokens}_pmaddubsw{rows}")


def _opaque(pairs: Expr) -> Expr:
    """Keeps LLVM from adding pair sums to each other first, which would cost registers."""
    lanes = lanes_of(pairs)
    floats = T.reinterpret(pairs, dtype=f"float32x{lanes // 2}")
    return T.reinterpret(fence(floats), dtype=f"int16x{lanes}")


def _pmaddubsw(registers: Registers, codes: Expr, q: Expr) -> Expr:
    """``codes[2 i] * q[2 i] + codes[2 i + 1] * q[2 i + 1]``: uint8, int8 -> half as many int16."""
    intrinsic = T.llvm_lookup_intrinsic_id(registers.maddubs)
    return T.call_llvm_pure_intrin(intrinsic, codes, q, dtype=f"int16x{registers.rows * 2}")


def _sum_pairs(registers: Registers, pairs: Expr) -> Expr:
    """The two int16 lanes of each row -> one int32 (pmaddwd with ones)."""
    intrinsic = T.llvm_lookup_intrinsic_id(registers.maddwd)
    ones = T.broadcast(T.int16(1), registers.rows * 2)
    return T.call_llvm_pure_intrin(intrinsic, pairs, ones, dtype=f"int32x{registers.rows}")


def _shifted(part: Expr, bits: Expr) -> Expr:
    """Fields moved down by an even number of bits; the mask that follows cuts what crosses a byte."""
    count = lanes_of(part)
    words = T.reinterpret(part, dtype=f"uint16x{count // 2}")
    shifted = T.shift_right(words, T.broadcast(T.cast(bits, "uint16"), count // 2))
    return T.reinterpret(shifted, dtype=f"uint8x{count}")


def _field_mask(registers: Registers, field: Expr) -> Expr:
    return T.broadcast(T.shift_left(T.uint8(3), T.cast(field * 2, "uint8")), registers.rows * 4)


def _four_everywhere(registers: Registers, q: Expr) -> Expr:
    """Four activations, for all rows of a register."""
    rows = registers.rows
    return T.reinterpret(T.broadcast(T.reinterpret(q, dtype="int32"), rows), dtype=f"int8x{rows * 4}")
