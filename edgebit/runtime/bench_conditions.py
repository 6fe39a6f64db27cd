"""On what a measurement was made: processor, system, load; and the memory this process takes."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

BUSY_LOAD = 0.5  # processors busy with something else: figures are then of the machine's leftovers
CPU_FOLDER = Path("/sys/devices/system/cpu/cpu0")
HUGE_PAGES = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")
ARM = "0x41"
ARM_CORES = {
    (ARM, "0xd03"): "Cortex-A53",
    (ARM, "0xd05"): "Cortex-A55",
    (ARM, "0xd07"): "Cortex-A57",
    (ARM, "0xd08"): "Cortex-A72",
    (ARM, "0xd09"): "Cortex-A73",
    (ARM, "0xd0b"): "Cortex-A76",
    (ARM, "0xd0c"): "Neoverse-N1",
    (ARM, "0xd41"): "Cortex-A78",
    (ARM, "0xd44"): "Cortex-X1",
}
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


def conditions(
    tier: str, threads: int, cpu_share: float, manifest: Dict[str, Any], load: List[float]
) -> Dict[str, Any]:
    """Facts for the JSON report; None where this system does not tell.

    `cpu_share`: processor time the process got, of what so many threads can use; `load`: the averages at the
    start.
    """
    return {
        "cpu": cpu_model(),
        "board": board_model(),
        "cpus": available_cpus(),
        "tier": tier,
        "threads": threads,
        "governor": _text(CPU_FOLDER / "cpufreq" / "scaling_governor"),
        "last_level_cache_bytes": last_level_cache(),
        "huge_pages": _chosen(_text(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        "load_average": load,
        "busy": bool(load) and load[0] >= BUSY_LOAD,
        "cpu_share": cpu_share,
        "versions": {
            "edgebit": manifest.get("edgebit"),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
        },
    }


def load_average() -> List[float]:
    """Over 1, 5 and 15 minutes; empty where the system has none."""
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (OSError, AttributeError):
        return []


def available_cpus() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> Optional[str]:
    """The name in /proc/cpuinfo; on ARM, which has numbers there, the name or number of the last core."""
    fields = dict(
        line.split(":", 1)
        for line in (_text(Path("/proc/cpuinfo")) or "").replace("\t", "").splitlines()
        if ":" in line
    )
    facts = {key.strip(): value.strip() for key, value in fields.items()}
    if "model name" in facts:
        return facts["model name"]
    if "CPU part" in facts:
        maker, part = facts.get("CPU implementer", "?"), facts["CPU part"]
        return ARM_CORES.get((maker, part), f"ARM core {part} of maker {maker}")
    return platform.processor() or None


def board_model() -> Optional[str]:
    """The board as its firmware calls it; None where there is no such name, as on PCs."""
    return _text(Path("/proc/device-tree/model"))


def last_level_cache() -> Optional[int]:
    """Bytes of the largest cache of the first processor."""
    sizes = []
    for path in CPU_FOLDER.glob("cache/index*/size"):
        found = re.match(r"(\d+)([KM]?)$", _text(path) or "")
        if found:
            sizes.append(int(found.group(1)) * UNITS[found.group(2)])
    return max(sizes, default=None)


def resident_bytes() -> Dict[str, Optional[int]]:
    """Memory of this process that is in RAM, mapped weights included: now, at most so far, on huge pages."""
    status = _text(Path("/proc/self/status")) or ""
    pages = _text(Path("/proc/self/smaps_rollup")) or ""
    huge = [_kilobytes(pages, kind) for kind in HUGE_PAGES]
    return {
        "rss_bytes": _kilobytes(status, "VmRSS"),
        "peak_rss_bytes": _kilobytes(status, "VmHWM"),
        "huge_page_bytes": sum(size or 0 for size in huge) if pages else None,
    }


def free_bytes() -> Optional[int]:
    """Memory that programs can still have."""
    return _kilobytes(_text(Path("/proc/meminfo")) or "", "MemAvailable")


def _kilobytes(text: str, field: str) -> Optional[int]:
    found = re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _text(path: Path) -> Optional[str]:
    """What a file of the system says, None where it is not there."""
    if sys.platform == "win32":
        return None
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def _chosen(text: Optional[str]) -> Optional[str]:
    """The word in brackets: "always [madvise] never" is madvise."""
    found = re.search(r"\[(\w+)\]", text or "")
    return found.group(1) if found else None
