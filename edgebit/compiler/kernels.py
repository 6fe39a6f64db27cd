"""Kernel instances of a plan → relocatable objects for each tier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from edgebit.compiler.debug import LEVEL_CODE, LEVEL_SCHEDULE, debug_level, show
from edgebit.compiler.emit import symbol
from edgebit.compiler.kernel_cache import kept
from edgebit.compiler.plan import KernelInstance
from edgebit.schedules import catalogue, lowering
from edgebit.schedules.tier import Tier


def build_objects(
    kernels: Iterable[KernelInstance], tier: Tier, triple: str, linked: Iterable[str] = ()
) -> Mapping[str, bytes]:
    """One object a kernel by its symbol, scheduled and lowered for ``tier`` or one that stands in for it.

    Kernels whose symbols are in ``linked``, objects of better tiers, are left out. Raises CompileError,
    TargetError.
    """
    wanted = {symbol(tier, instance): instance for instance in kernels}
    return {
        name: _build(instance, catalogue.provider(instance.name, tier), triple)
        for name, instance in wanted.items()
        if name not in linked
    }


@cache
def _build(instance: KernelInstance, tier: Tier, triple: str) -> bytes:
    """Kernels take shapes as arguments, so models and forms of the lm_head share most of them."""

    def make() -> bytes:
        static = dict(instance.static) if instance.function is None else {"function": instance.function}
        kernel = catalogue.kernel(instance.name, tier, **static)
        functions = {symbol(tier, instance): kernel.prim_func}
        title = f"{instance.symbol} for {tier.name}"
        show(LEVEL_SCHEDULE, title, kernel.prim_func.script)
        show(LEVEL_CODE, title, lambda: lowering.assembly(functions, tier, triple))
        return lowering.compile_object(functions, tier, triple)

    if debug_level() >= LEVEL_SCHEDULE:
        return make()
    return kept(f"{symbol(tier, instance)} {instance} {tier} {triple}", make)
