"""Kernel instances of a plan → one relocatable object for each tier."""

from __future__ import annotations

from functools import cache

from edgebit.compiler.debug import LEVEL_CODE, LEVEL_SCHEDULE, show
from edgebit.compiler.emit import symbol
from edgebit.compiler.plan import KernelInstance
from edgebit.schedules import catalogue, lowering
from edgebit.schedules.tier import Tier


@cache
def build_object(kernels: tuple[KernelInstance, ...], tier: Tier, triple: str) -> bytes:
    """Schedule and lower every kernel for ``tier``. Raises CompileError, TargetError.

    Kernels take shapes as arguments, so models of one family share them: a process builds each set once.
    """
    functions = {}
    for instance in kernels:
        kernel = catalogue.kernel(instance.name, tier, **dict(instance.static))
        functions[symbol(tier.name, instance)] = kernel.prim_func
        show(LEVEL_SCHEDULE, f"{instance.symbol} for {tier.name}", kernel.prim_func.script)
    show(LEVEL_CODE, f"assembly of {tier.name}", lambda: lowering.assembly(functions, tier, triple))
    return lowering.compile_object(functions, tier, triple)
