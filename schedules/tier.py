"""CPU tiers: what the kernels of one library variant may assume about the processor.

A library holds the kernels of every tier of its architecture, best first; the runtime takes the first one
whose ``requires`` the processor has. The last of each architecture requires nothing but what every processor
that its targets serve has.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace

from edgebit.errors import TargetError


@dataclass(frozen=True)
class Tier:
    """One instruction set level of one architecture.

    ``mattr`` names exactly the features of ``requires`` above the baseline: code of a tier never uses an
    instruction the runtime has not checked for, so ``mcpu`` is a baseline processor, not the newest one that
    has the feature.
    """

    name: str
    architecture: str  # "x86_64", "arm64", "armv7" or "riscv64"
    mcpu: str
    mattr: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()  # names of native/cpu.h
    base: str | None = None  # the tier, of the same mcpu and ABI, whose kernels stand in for missing ones
    float_abi: str | None = None  # LLVM's mfloat-abi, 32-bit ARM only
    abi: str | None = None  # LLVM's mabi, RISC-V only

    def target(self, triple: str) -> dict[str, object]:
        """The TVM target (a JSON-like dictionary) of this tier for an LLVM triple of its architecture."""
        expected = _TRIPLE_PREFIX[self.architecture]
        if not triple.startswith(expected) or triple.count("-") < 3:
            raise TargetError(
                f"triple {triple!r} does not fit tier {self.name}: expected four parts, "
                f"{expected}<vendor>-<system>-<environment> (TVM does not normalise triples)"
            )
        target: dict[str, object] = {"kind": "llvm", "mtriple": triple, "mcpu": self.mcpu}
        if self.mattr:
            target["mattr"] = list(self.mattr)
        if self.float_abi is not None:
            target["mfloat-abi"] = self.float_abi
        if self.abi is not None:
            target["mabi"] = self.abi
        return target


_TRIPLE_PREFIX = {"x86_64": "x86_64-", "arm64": "aarch64-", "armv7": "armv7", "riscv64": "riscv64-"}

_TIERS = (
    Tier(
        "avx512vnni",
        "x86_64",
        "x86-64",
        mattr=("+avx2", "+fma", "+f16c", "+avx512f", "+avx512bw", "+avx512vl", "+avx512vnni"),
        requires=("avx2", "fma", "f16c", "avx512bw", "avx512vl", "avx512vnni"),
    ),
    Tier(
        "avxvnni",
        "x86_64",
        "x86-64",
        mattr=("+avx2", "+fma", "+f16c", "+avxvnni"),
        requires=("avx2", "fma", "f16c", "avxvnni"),
        base="avx2",
    ),
    Tier("avx2", "x86_64", "x86-64", mattr=("+avx2", "+fma", "+f16c"), requires=("avx2", "fma", "f16c")),
    Tier("ssse3", "x86_64", "x86-64", mattr=("+ssse3",), requires=("ssse3",), base="sse2"),
    Tier("sse2", "x86_64", "x86-64"),
    Tier(
        "i8mm",
        "arm64",
        "cortex-a72",
        mattr=("+dotprod", "+i8mm"),
        requires=("dotprod", "i8mm"),
        base="dotprod",
    ),
    Tier("dotprod", "arm64", "cortex-a72", mattr=("+dotprod",), requires=("dotprod",), base="neon"),
    Tier("neon", "arm64", "cortex-a72"),
    # NEON of 32-bit ARM flushes denormals, and the tiers must agree bit for bit: floats stay in VFP
    # registers, so that only kernels whose vectors are integers are armv7neon's own. The oldest processors,
    # Cortex-A8 and A9, have VFPv3 and no division; "-d32" leaves the sixteen registers that Tegra 2 has too.
    Tier(
        "armv7neon",
        "armv7",
        "generic",
        mattr=("+neon",),
        requires=("neon",),
        float_abi="hard",
        base="vfp",
    ),
    Tier("vfp", "armv7", "generic", mattr=("-neon", "-d32"), float_abi="hard"),
    Tier("rv64gc", "riscv64", "generic-rv64", mattr=("+m", "+a", "+f", "+d", "+c"), abi="lp64d"),
)

TIERS: dict[str, Tier] = {tier.name: tier for tier in _TIERS}


def tiers_of(architecture: str) -> tuple[Tier, ...]:
    """All tiers of an architecture, best first."""
    found = tuple(tier for tier in _TIERS if tier.architecture == architecture)
    if not found:
        raise TargetError(
            f"no tier for architecture {architecture!r}: known are {', '.join(sorted(_TRIPLE_PREFIX))}"
        )
    return found


def host_architecture() -> str:
    """The architecture name of this workstation."""
    machine = platform.machine().lower()
    names = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise TargetError(f"this workstation is a {machine!r}: known are {', '.join(sorted(names))}")
    return names[machine]


def portable_tier(architecture: str | None = None) -> Tier:
    """The reference: schedules without intrinsics on an architecture's baseline (default: the host's)."""
    return replace(tiers_of(architecture or host_architecture())[-1], name="portable")
