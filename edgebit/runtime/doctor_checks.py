"""What can be said of a bundle and a machine before the model runs: findings of doctor.py, one a subject."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .bench_conditions import free_bytes
from .engine import LIBRARY
from .errors import IntegrityError
from .integrity import MANIFEST, check_file, check_machine, read_manifest, this_machine
from .library_file import LibraryFacts, read_library
from .program import show_progress
from .table import size_text

RIGHT, NOTE, WRONG = "right", "note", "wrong"
GLIBC, UNKNOWN = "glibc", "unknown"
PROGRESS_STEP = 64 << 20


@dataclass(frozen=True)
class Finding:
    """What was found of one subject. A note is nothing wrong, but worth to know."""

    subject: str
    state: str
    text: str


@dataclass(frozen=True)
class FileFindings:
    """`manifest`: None where it is damaged; `damaged`: names of the other files that are."""

    findings: List[Finding]
    manifest: Optional[Dict[str, Any]]
    damaged: List[str]


# ---- files ---------------------------------------------------------------------------------------


def check_files(folder: Path) -> FileFindings:
    """Every file against its size and sha256; all that is wrong, not the first alone."""
    try:
        manifest = read_manifest(folder / MANIFEST)
    except IntegrityError as error:
        return FileFindings([Finding("files", WRONG, str(error))], None, [])
    files: Dict[str, Dict[str, Any]] = manifest["files"]
    total = sum(entry["size"] for entry in files.values())
    progress = _Progress(total)
    findings = []
    damaged = []
    for name, entry in files.items():
        try:
            check_file(folder, name, entry["size"], entry["sha256"], True, progress.advance)
        except IntegrityError as error:
            findings.append(Finding("files", WRONG, str(error)))
            damaged.append(name)
    if not findings:
        text = f"{len(files)} files, {size_text(total)}: sizes and sha256 as in {MANIFEST}"
        findings.append(Finding("files", RIGHT, text))
    return FileFindings(findings, manifest, damaged)


class _Progress:
    """Shows how much of a bundle has been read."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._shown = 0

    def advance(self, count: int) -> None:
        self._done += count
        if self._done - self._shown >= PROGRESS_STEP:
            self._shown = self._done
            show_progress(f"reading files … {self._done / self._total:.0%}")


# ---- machine and system --------------------------------------------------------------------------


def check_architecture(folder: Path, manifest: Dict[str, Any]) -> Finding:
    try:
        check_machine(folder, manifest["target"])
    except IntegrityError as error:
        return Finding("machine", WRONG, str(error))
    return Finding("machine", RIGHT, f"{this_machine()}, as the bundle ({manifest['target']['name']})")


def check_system(folder: Path, manifest: Optional[Dict[str, Any]]) -> List[Finding]:
    """Pages and libc against what libmodel.so needs; nothing where it cannot be read: `files` tells that."""
    try:
        facts = read_library(folder / LIBRARY)
    except (ValueError, OSError):
        return []
    wanted = manifest["target"].get("libc") if manifest else None
    return [_check_pages(facts), _check_libc(facts, wanted)]


def _check_pages(facts: LibraryFacts) -> Finding:
    pages = os.sysconf("SC_PAGE_SIZE")
    text = f"{pages} bytes, {LIBRARY} is aligned to {facts.alignment}"
    if pages <= facts.alignment:
        return Finding("pages", RIGHT, text)
    return Finding("pages", WRONG, f"{text}: compile for a target with pages of {pages} bytes")


def _check_libc(facts: LibraryFacts, wanted: Optional[str]) -> Finding:
    """A note at most: some systems load libraries of another libc. `wanted`: what the bundle was made for."""
    name, version = libc()
    text = f"{name} {version}".strip()
    if wanted not in (None, name):
        way_out = f"if {LIBRARY} does not load, compile for a target with {name}"
        return Finding("libc", NOTE, f"{text}, the bundle is for {wanted}: {way_out}")
    if facts.glibc is None or name != GLIBC:
        return Finding("libc", RIGHT, text)
    text += ", {} needs {}.{}".format(LIBRARY, *facts.glibc)
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdigit())
    return (
        Finding("libc", RIGHT, text) if numbers >= facts.glibc else Finding("libc", NOTE, f"{text}: too old")
    )


def libc() -> Tuple[str, str]:
    """Name and version of this system's: ("glibc", "2.36"), ("musl", ""), ("bionic", "API 34")."""
    if hasattr(sys, "getandroidapilevel"):
        return "bionic", f"API {sys.getandroidapilevel()}"
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return name or UNKNOWN, version
    except (ValueError, OSError, AttributeError):
        return ("musl" if any(Path("/lib").glob("ld-musl-*")) else UNKNOWN), ""


# ---- memory --------------------------------------------------------------------------------------


def check_memory(manifest: Dict[str, Any], threads: int) -> Finding:
    """What the model takes with a full context, against what programs can still have."""
    needs = manifest.get("memory", {})
    mapped, cache = needs.get("weights", 0), needs.get("cache", 0)
    own = needs.get("activations", 0) + needs.get("logits", 0) + threads * needs.get("scratch_per_thread", 0)
    parts = f"weights {size_text(mapped)}, full context {size_text(cache)}, the rest {size_text(own)}"
    text = f"needs {size_text(mapped + cache + own)} ({parts})"
    free = free_bytes()
    if free is None:
        return Finding("memory", RIGHT, f"{text}; this system does not say what is free")
    text += f", {size_text(free)} can be had"
    if own > free:
        return Finding("memory", WRONG, f"{text}: end other programs")
    if mapped + cache + own > free:
        return Finding("memory", NOTE, f"{text}: weights will be read from storage again and again, slowly")
    return Finding("memory", RIGHT, text)
