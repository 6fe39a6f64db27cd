"""Every kernel, every tier, and the schedule that computes one on the other: one table, one dispatch.

A schedule is named by module and function and imported when it is asked for, so that the table itself can be
read (``table()``, the runtime's plan) without TVM.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgebit.errors import CompileError

from .parsing import quick_parsing
from .tier import TIERS, Tier

if TYPE_CHECKING:
    from tvm import tirx

ANY = "any"  # the column of schedules that need no CPU feature


@dataclass(frozen=True)
class Schedule:
    """Where the builder of a scheduled kernel is: ``builder(tier, **static) -> PrimFunc``.

    ``static`` of the table are the arguments the builder gets beside those of the caller of ``kernel``.
    """

    module: str
    function: str
    requirements: tuple[str, ...] = ()
    static: Mapping[str, object] | None = None

    def build(self, tier: Tier, static: Mapping[str, object]) -> tirx.PrimFunc:
        module = importlib.import_module(f".{self.module}", __package__)
        with quick_parsing():
            return getattr(module, self.function)(tier, **{**(self.static or {}), **static})


@dataclass(frozen=True)
class Kernel:
    """A kernel scheduled for one tier, ready for ``lowering.compile_object``."""

    name: str
    schedule: str
    tier: Tier  # what its code is compiled for: the tier it was asked for, or one that stands in
    prim_func: tirx.PrimFunc
    requirements: tuple[str, ...]


_TERNARY_GEMV = {
    "avx512vnni": Schedule("x86_avx512vnni", "ternary_gemv_u16_16x1_avx512vnni"),
    "avxvnni": Schedule("x86_avxvnni", "ternary_gemv_u16_16x1_avxvnni"),
    "avx2": Schedule("x86_avx2", "ternary_gemv_u16_16x1_avx2"),
    "ssse3": Schedule("x86_ssse3", "ternary_gemv_u16_16x1_ssse3"),
    "dotprod": Schedule("arm_dotprod", "ternary_gemv_u16_16x1_dotprod"),
    "neon": Schedule("arm_neon", "ternary_gemv_u16_16x1_neon"),
    "armv7neon": Schedule("arm_v7neon", "ternary_gemv_u16_16x1_armv7neon"),
    "rv64gc": Schedule("scalar64", "ternary_gemv_u16_16x1_scalar64"),
    ANY: Schedule("portable_ternary", "ternary_gemv_u16_16x1_portable"),
}
_TERNARY_GEMM = {
    "avx512vnni": Schedule("x86_avx512vnni", "ternary_gemm_u16_32x12_avx512vnni"),
    "avxvnni": Schedule("x86_avxvnni", "ternary_gemm_u16_16x4_avxvnni"),
    "avx2": Schedule("x86_avx2", "ternary_gemm_u16_16x5_avx2"),
    "ssse3": Schedule("x86_ssse3", "ternary_gemm_u16_16x2_ssse3"),
    "i8mm": Schedule("arm_i8mm", "ternary_gemm_u16_16x8_i8mm"),
    "dotprod": Schedule("arm_dotprod", "ternary_gemm_u16_16x8_dotprod"),
    "neon": Schedule("arm_neon", "ternary_gemm_u16_16x2_neon"),
    "armv7neon": Schedule("arm_v7neon", "ternary_gemm_u16_16x3_armv7neon"),
    "rv64gc": Schedule("scalar64", "ternary_gemm_u16_16x2_scalar64"),
    ANY: Schedule("portable_ternary", "ternary_gemm_u16_16x4_portable"),
}


def _with_epilogue(row: dict[str, Schedule], epilogue: str) -> dict[str, Schedule]:
    """A row of ternary products: every schedule takes its epilogue as an argument."""
    needs = ("K is a multiple of 64", "K < 524288")
    return {
        tier: replace(schedule, static={"epilogue": epilogue}, requirements=needs)
        for tier, schedule in row.items()
    }


_EPILOGUES = ("store", "residual", "relu2_mul", "silu_mul", "gelu_tanh_mul")


def _ternary_float(product: str) -> dict[str, dict[str, Schedule]]:
    """The rows of ternary products of floats, one for each epilogue: one schedule serves every tier."""
    needs = ("K is a multiple of 64", "|x| < 2^127")
    schedule = Schedule("ternary_float", f"ternary_float_{product}", needs)
    return {
        f"ternary_float_{product}_{epilogue}": {ANY: replace(schedule, static={"epilogue": epilogue})}
        for epilogue in _EPILOGUES
    }


_HEAD_SCREEN = {
    "avx512vnni": Schedule("head_avx512vnni", "head_screen_avx512vnni"),
    "avx2": Schedule("head_avx2", "head_screen_avx2"),
    "sse2": Schedule("head_sse2", "head_screen_sse2"),
    "dotprod": Schedule("head_dotprod", "head_screen_dotprod"),
    "neon": Schedule("head_neon", "head_screen_neon"),
    "armv7neon": Schedule("head_v7neon", "head_screen_armv7neon"),
    ANY: Schedule("head_portable", "head_screen_portable"),
}


def _with_codes(row: dict[str, Schedule], bits: int) -> dict[str, Schedule]:
    return {tier: replace(schedule, static={"bits": bits}) for tier, schedule in row.items()}


def _by_row(product: str, row: dict[str, Schedule]) -> dict[str, dict[str, Schedule]]:
    """The same products with a weight scale for every row."""
    names = (f"{epilogue}_by_row" for epilogue in _EPILOGUES)
    return {f"ternary_{product}_{name}": _with_epilogue(row, name) for name in names}


# kernel -> tier (or ANY) -> schedule
SCHEDULES: dict[str, dict[str, Schedule]] = {
    "ternary_gemv_store": _with_epilogue(_TERNARY_GEMV, "store"),
    "ternary_gemv_residual": _with_epilogue(_TERNARY_GEMV, "residual"),
    "ternary_gemv_relu2_mul": _with_epilogue(_TERNARY_GEMV, "relu2_mul"),
    "ternary_gemv_silu_mul": _with_epilogue(_TERNARY_GEMV, "silu_mul"),
    "ternary_gemv_gelu_tanh_mul": _with_epilogue(_TERNARY_GEMV, "gelu_tanh_mul"),
    "ternary_gemm_store": _with_epilogue(_TERNARY_GEMM, "store"),
    "ternary_gemm_residual": _with_epilogue(_TERNARY_GEMM, "residual"),
    "ternary_gemm_relu2_mul": _with_epilogue(_TERNARY_GEMM, "relu2_mul"),
    "ternary_gemm_silu_mul": _with_epilogue(_TERNARY_GEMM, "silu_mul"),
    "ternary_gemm_gelu_tanh_mul": _with_epilogue(_TERNARY_GEMM, "gelu_tanh_mul"),
    **_by_row("gemv", _TERNARY_GEMV),
    **_by_row("gemm", _TERNARY_GEMM),
    **_ternary_float("gemv"),
    **_ternary_float("gemm"),
    "embedding": {ANY: Schedule("float_embedding", "embedding")},
    "rmsnorm_quantize": {ANY: Schedule("float_norm", "rmsnorm_quantize")},
    "quantize": {ANY: Schedule("float_norm", "quantize_rows")},
    "rope_append": {ANY: Schedule("float_rope", "rope_append")},
    "attention_decode": {ANY: Schedule("attention_decode", "attention_decode")},
    "attention_merge": {ANY: Schedule("attention_decode", "attention_merge")},
    "attention_prefill": {ANY: Schedule("attention_prefill", "attention_prefill")},
    "rmsnorm_rows": {ANY: Schedule("float_norm", "rmsnorm_rows")},
    "rmsnorm_residual": {ANY: Schedule("float_norm", "rmsnorm_rows", static={"residual": True})},
    "spread_heads": {ANY: Schedule("float_heads", "spread_heads")},
    "join_heads": {ANY: Schedule("float_heads", "join_heads")},
    "head_norm": {ANY: Schedule("float_norm", "head_norm")},
    "gated": {ANY: Schedule("float_rows", "gated")},
    "add_bias": {ANY: Schedule("float_rows", "add_bias")},
    "add_rows": {ANY: Schedule("float_rows", "add_rows")},
    "scale_rows": {ANY: Schedule("float_rows", "scale_rows")},
    "rmsnorm": {ANY: Schedule("float_norm", "rmsnorm")},
    "pool_last": {ANY: Schedule("pooling", "pool_last")},
    "pool_mean": {ANY: Schedule("pooling", "pool_mean")},
    "normalize": {ANY: Schedule("pooling", "normalize")},
    "lm_head": {ANY: Schedule("float_head", "lm_head")},
    "lm_head_rows": {ANY: Schedule("float_head", "lm_head_rows")},
    "head_screen": _with_codes(_HEAD_SCREEN, 6),
    "head_screen_u4": _with_codes(_HEAD_SCREEN, 4),
    "head_rows": {ANY: Schedule("head_rows", "head_rows")},
    "embedding_int8": {ANY: Schedule("head_int8", "embedding_int8")},
    "lm_head_int8": {ANY: Schedule("head_int8", "lm_head_int8")},
    "stage": {ANY: Schedule("default_schedule", "default_schedule")},
}


def provider(name: str, tier: Tier) -> Tier:
    """The tier whose kernel of that name a tier uses: itself, or the first of its bases that has its own.

    Bases are tuned as the tier is.
    """
    if name not in SCHEDULES:
        raise CompileError(f"no kernel {name!r}: known are {', '.join(sorted(SCHEDULES))}")
    while tier.name not in SCHEDULES[name] and tier.base is not None:
        tier = replace(TIERS[tier.base], mcpu=tier.mcpu, float_abi=tier.float_abi)
    return tier


def select(name: str, tier: Tier) -> Schedule:
    """The schedule of a kernel on a tier: the one of its ``provider``, or else the one for any CPU."""
    found = provider(name, tier)
    row = SCHEDULES[name]
    return row.get(found.name, row[ANY])


def kernel(name: str, tier: Tier, **static: object) -> Kernel:
    """Build a kernel for a tier; ``static`` is what its shapes or constants are specialised for."""
    schedule, compiled_for = select(name, tier), provider(name, tier)
    return Kernel(
        name=name,
        schedule=schedule.function,
        tier=compiled_for,
        prim_func=schedule.build(compiled_for, static),
        requirements=schedule.requirements,
    )


def table() -> str:
    """Kernels x tiers as a Markdown table."""
    header = ["kernel", *TIERS]
    lines = [header, ["---"] * len(header)]
    for name in SCHEDULES:
        lines.append([f"`{name}`", *(f"`{select(name, tier).function}`" for tier in TIERS.values())])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
