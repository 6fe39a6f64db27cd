"""A library of any plan for this machine: what a model computes is known here, whatever it is compiled for.

Plans do not depend on the target, and every tier gives the same bits. So the kernels of this machine's best
tier under the same plan compute what the target's will.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgebit.bundle.link import LIBRARY, link_library
from edgebit.compiler import CompiledModel, Target
from edgebit.compiler.kernels import build_objects
from edgebit.compiler.target import host_target
from edgebit.schedules.tier import TIERS, Tier

FORCED_TIER = "EDGEBIT_TIER"


def this_machine() -> Target:
    """The target of this machine with the best tier it has alone: the others would not be used."""
    target = host_target()
    best = next(name for name in target.tiers if fits_here(TIERS[name]) or name == target.tiers[-1])
    return replace(target, tiers=(best,))


def runs_here(target: Target) -> bool:
    """Whether this machine can load and run libraries of a target."""
    of_this_machine = platform.machine().lower() in target.machines and target.libc == host_target().libc
    return of_this_machine and any(fits_here(TIERS[name]) for name in target.tiers)


def write_host_library(compiled: CompiledModel, weights_id: bytes, folder: Path) -> Path:
    """libmodel.so in ``folder``: the plan of ``compiled`` with kernels for this machine, for its weights.bin.

    Kernels that this process has built before are not built again. Raises CompileError, LinkError.
    """
    machine = this_machine()
    objects = {
        tier: tuple(build_objects(compiled.plan.kernels, machine.tier(tier), machine.triple).values())
        for tier in machine.tiers
    }
    here = replace(compiled, target=machine, objects=objects)
    path = folder / LIBRARY
    path.write_bytes(link_library(machine, here.plan_source(weights_id), objects))
    return path


@contextmanager
def best_tier() -> Iterator[None]:
    """Without the tier that the environment forces: it is meant for the bundle, not for this workstation."""
    forced = os.environ.pop(FORCED_TIER, None)
    try:
        yield
    finally:
        if forced is not None:
            os.environ[FORCED_TIER] = forced


def fits_here(tier: Tier) -> bool:
    """Whether this CPU has what a tier requires; unknown on systems without /proc/cpuinfo: then not."""
    return {_LINUX_NAMES.get(feature, feature) for feature in tier.requires} <= _cpu_features()


# Where /proc/cpuinfo has names of its own.
_LINUX_NAMES = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "dotprod": "asimddp"}


def _cpu_features() -> frozenset[str]:
    """Flags of /proc/cpuinfo, none where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    words = [line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(words[0]) if words else frozenset()
