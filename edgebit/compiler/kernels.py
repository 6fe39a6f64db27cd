"""Kernel instances of a plan → relocatable objects for each tier."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from edgebit.compiler.debug import LEVEL_CODE, LEVEL_SCHEDULE, show
from edgebit.compiler.emit import symbol
from edgebit.compiler.plan import KernelInstance
from edgebit.schedules import catalogue, lowering
from edgebit.schedules.tier import Tier


def build_objects(kernels: Iterable[KernelInstance], tier: Tier, triple: str) -> tuple[bytes, ...]:
    """One object a kernel, scheduled and lowered for ``tier``. Raises CompileError, TargetError."""
    return tuple(_build(instance, tier, triple) for instance in kernels)


@cache
def _build(instance: KernelInstance, tier: Tier, triple: str) -> bytes:
    """Kernels take shapes as arguments, so models and forms of the lm_head share most of them: a process
    builds each once.
    """
    kernel = catalogue.kernel(instance.name, tier, **dict(instance.static))
    functions = {symbol(tier.name, instance): kernel.prim_func}
    show(LEVEL_SCHEDULE, f"{instance.symbol} for {tier.name}", kernel.prim_func.script)
    show(LEVEL_CODE, f"{instance.symbol} for {tier.name}", lambda: lowering.assembly(functions, tier, triple))
    return lowering.compile_object(functions, tier, triple)
