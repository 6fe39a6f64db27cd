"""Targets: what a bundle is built for. One TOML file each, in edgebit.targets or anywhere else.

A file that says ``inherits = "NAME"`` has all keys of that target but ``description`` and those it gives
itself; its table ``[link]`` is merged key by key. edgebit/compiler/target_file.py lists the keys.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from edgebit.compiler.target_file import Fields, Table, read_table
from edgebit.errors import TargetError
from edgebit.schedules.tier import TIERS, Tier

HOST = "host"
SUFFIX = ".toml"
GLIBC, MUSL, BIONIC = "glibc", "musl", "bionic"
LIBCS = (GLIBC, MUSL, BIONIC)

# Processors with the instructions of the baseline of their architecture and no other, whose timing the
# compiler knows. Tuning for one never puts an instruction into a tier that the runtime has not checked for.
TUNABLE = {"arm64": ("cortex-a53", "cortex-a57", "cortex-a72", "cortex-a73")}


@dataclass(frozen=True)
class Target:
    """A family of devices one bundle serves."""

    name: str
    description: str
    inherits: tuple[str, ...]  # names of targets, the nearest first
    architecture: str
    machines: tuple[str, ...]  # values of platform.machine() on these devices
    tiers: tuple[str, ...]  # names of edgebit.schedules tiers, best first; the last one needs no CPU feature
    tune: str | None  # whose timing code is scheduled for, one of TUNABLE
    triple: str  # four parts, for TVM
    libc: str  # one of LIBCS
    threads: str  # what is known about threads there, for people
    zig_target: str  # with the oldest libc that will load the library
    page_size: int  # largest page of any kernel in the family, bytes
    link_flags: tuple[str, ...]
    wheel_tag: str  # platform tag of a wheel for these devices; older names of the same behind dots

    def tier(self, name: str) -> Tier:
        """A tier of this target, tuned for it."""
        tier = TIERS[name]
        if self.tune and tier.mcpu in TUNABLE.get(self.architecture, ()):
            tier = replace(tier, mcpu=self.tune)
        if self.libc == BIONIC and tier.float_abi:
            tier = replace(tier, float_abi="soft")  # armeabi-v7a: only how float arguments would be passed
        return tier


def load_target(name: str) -> Target:
    """The target called `name`, or in the file `name` if that ends in .toml; "host" is that of this machine.

    Raises TargetError naming the known ones, or the file and the key that is wrong.
    """
    if name == HOST:
        return host_target()
    if name.endswith(SUFFIX):
        return read_target(Path(name))
    targets = known_targets()
    if name not in targets:
        raise TargetError(
            f"unknown target {name!r}; known are {', '.join([HOST, *targets])}, or give a {SUFFIX} file"
        )
    return targets[name]


def host_target() -> Target:
    """The family that serves the machine this runs on."""
    machine = platform.machine().lower()
    libc = GLIBC if platform.libc_ver()[0] == "glibc" else MUSL
    for target in known_targets().values():
        if machine in target.machines and target.libc == libc and not target.inherits:
            return target
    known = ", ".join(known_targets())
    raise TargetError(f"no target serves this machine ({machine or 'unknown'}); choose one of {known}")


@cache
def known_targets() -> Mapping[str, Target]:
    """Every target of edgebit.targets by name, sorted."""
    return {name: parse_target(name, text) for name, text in sorted(_texts().items())}


@cache
def _texts() -> Mapping[str, str]:
    files = [entry for entry in resources.files("edgebit.targets").iterdir() if entry.name.endswith(SUFFIX)]
    return {entry.name.removesuffix(SUFFIX): entry.read_text("utf-8") for entry in files}


def read_target(path: Path) -> Target:
    """The target of a file, called like it. Raises TargetError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TargetError(f"{path}: cannot be read ({reason})") from error
    return parse_target(path.name.removesuffix(SUFFIX), text)


def parse_target(name: str, text: str) -> Target:
    """A Target from the text of `name`.toml. Raises TargetError that names the file and the key."""
    table, ancestors = _with_ancestors(name, read_table(name, text))
    fields = Fields(name, table)
    target = Target(
        name=name,
        description=fields.text("description"),
        inherits=ancestors,
        architecture=fields.text("architecture"),
        machines=fields.texts("machines"),
        tiers=fields.texts("tiers"),
        tune=fields.optional_text("tune"),
        triple=fields.text("triple"),
        libc=fields.one_of("libc", LIBCS),
        threads=fields.text("threads"),
        wheel_tag=fields.text("wheel_tag"),
        zig_target=fields.text("link.zig_target"),
        page_size=fields.page_size("link.page_size"),
        link_flags=fields.texts("link.flags", empty=True),
    )
    fields.refuse_others()
    _check(target)
    return target


def _with_ancestors(name: str, table: Table) -> tuple[Table, tuple[str, ...]]:
    """The keys of a target and of those it inherits from, and their names."""
    ancestors: list[str] = []
    while "inherits" in table:
        parent = table.pop("inherits")
        if not isinstance(parent, str) or parent not in _texts():
            known = ", ".join(sorted(_texts()))
            raise TargetError(f"{name}{SUFFIX}: inherits {parent!r}, which is no target; known are {known}")
        if parent in (name, *ancestors):
            chain = " from ".join([name, *ancestors, parent])
            raise TargetError(f"{name}{SUFFIX}: inherits in a circle: {chain}")
        ancestors.append(parent)
        inherited = read_table(parent, _texts()[parent])
        inherited.pop("description", None)
        table = {**inherited, **table}
    return table, tuple(ancestors)


def _check(target: Target) -> None:
    """What no single key can say is wrong."""
    where = f"{target.name}{SUFFIX}"
    if target.triple.count("-") != 3:
        raise TargetError(f"{where}: triple {target.triple!r} must have four parts: cpu-vendor-linux-gnu")
    of_architecture = [tier.name for tier in TIERS.values() if tier.architecture == target.architecture]
    for tier in target.tiers:
        if tier not in of_architecture:
            known = ", ".join(of_architecture) or f"none for architecture {target.architecture!r}"
            raise TargetError(f"{where}: tiers has {tier!r}; known for {target.architecture} are {known}")
    in_order = [tier for tier in of_architecture if tier in target.tiers]
    if list(target.tiers) != in_order:
        raise TargetError(f"{where}: tiers are {list(target.tiers)}, expected best first: {in_order}")
    tunable = TUNABLE.get(target.architecture, ())
    if target.tune and target.tune not in tunable:
        known = ", ".join(tunable) or f"none for {target.architecture}"
        raise TargetError(f"{where}: tune is {target.tune!r}; known are {known}")
