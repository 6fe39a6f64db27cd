"""What a measurement was made under: a benchmark without its conditions says nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

ISA_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "asimddp",
    "i8mm",
)
_AUTOGROUP = Path("/proc/self/autogroup")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def conditions() -> dict[str, str]:
    """Facts of this machine at this moment, by what they are called in the report."""
    cpu = _cpu_fields()
    flags = set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split())
    return {
        "Date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{cpu.get('model name', platform.machine())}, {os.cpu_count()} cores"
        + (f" (family {cpu['cpu family']}, model {cpu['model']})" if "cpu family" in cpu else ""),
        "ISA": ", ".join(flag for flag in ISA_FLAGS if flag in flags) or platform.machine(),
        "Governor": _GOVERNOR.read_text().strip() if os.access(_GOVERNOR, os.R_OK) else "not readable",
        "Load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "Priority": _priority(),
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def versions(packages: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages)


def _priority() -> str:
    """Niceness, and that of the session where Linux schedules sessions as groups: it counts first."""
    niceness = f"niceness {os.nice(0)}"
    # "/autogroup-64 nice 0"; empty for a process without a group, absent where the kernel makes none.
    group = _AUTOGROUP.read_text().split() if os.access(_AUTOGROUP, os.R_OK) else []
    return f"{niceness}, its session's {group[-1]}" if group else niceness


def _cpu_fields() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    text = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0]
    fields = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}
