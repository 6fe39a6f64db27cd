"""Is this folder a whole bundle for this machine? Reads manifest.json, written by edgebit/bundle/manifest.py.

Always checked: the manifest itself, the machine, the presence and size of every file, and the sha256 of
files up to 64 MiB. The sha256 of larger files (weights.bin: seconds on a small board) is checked with
verify=True or EDGEBIT_VERIFY=1.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict

from .errors import IntegrityError

MANIFEST = "manifest.json"
FORMAT = 2
ALWAYS_HASHED_BYTES = 64 << 20
BLOCK_BYTES = 1 << 20
NO_DIGEST = "0" * 64

# A 32-bit userland on a 64-bit kernel (Raspberry Pi OS 32-bit) still calls itself by the kernel's name.
NAME_OF_32_BIT = {"aarch64": "armv7l", "x86_64": "i686", "riscv64": "riscv32"}


def check_bundle(folder: Path, verify: bool = False) -> Dict[str, Any]:
    """The manifest of a bundle that is whole and for this machine. Raises IntegrityError naming the file."""
    manifest = read_manifest(folder / MANIFEST)
    check_machine(folder, manifest["target"])
    everything = verify or os.environ.get("EDGEBIT_VERIFY", "") not in ("", "0")
    for name, entry in manifest["files"].items():
        check_file(folder, name, entry["size"], entry["sha256"], everything)
    return manifest


# ---- manifest ------------------------------------------------------------------------------------


def read_manifest(path: Path) -> Dict[str, Any]:
    """The table of manifest.json, its fields and its own digest checked."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: {path.parent} is not a bundle") from None
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    try:
        table = json.loads(text)
    except ValueError as error:
        raise IntegrityError(f"{path} is damaged: {error}; copy the bundle again") from error
    if not isinstance(table, dict) or "edgebit" not in table:
        raise IntegrityError(f"{path} is not the manifest of an edgebit bundle")
    if table.get("format") != FORMAT:
        raise IntegrityError(
            f"{path} has format {table.get('format')}, this loader reads format {FORMAT}: "
            "take the loader in the bundle, or compile the model again"
        )
    check_digest(path, text, str(table.get("sha256")))
    if not is_complete(table):
        raise IntegrityError(f"{path} lacks a field or has one of the wrong kind: compile the model again")
    return table


def check_digest(path: Path, text: str, digest: str) -> None:
    """The manifest carries the sha256 of its own bytes, with zeros in that place."""
    found = hashlib.sha256(text.replace(digest, NO_DIGEST, 1).encode("utf-8")).hexdigest()
    if found != digest:
        raise IntegrityError(f"{path} is damaged: sha256 {found}, expected {digest}; copy the bundle again")


def is_complete(table: Dict[str, Any]) -> bool:
    """Whether everything the loader reads is there."""
    try:
        target, files = table["target"], table["files"]
        machines = target["machines"]
        return (
            isinstance(target["architecture"], str)
            and isinstance(machines, list)
            and all(isinstance(machine, str) for machine in machines)
            and all(is_file_entry(name, entry) for name, entry in files.items())
        )
    except (KeyError, TypeError, AttributeError):
        return False


def is_file_entry(name: str, entry: Dict[str, Any]) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and isinstance(entry["size"], int) and isinstance(entry["sha256"], str)


# ---- machine -------------------------------------------------------------------------------------


def this_machine() -> str:
    """platform.machine() of this process: what its libraries must be built for."""
    machine = platform.machine().lower()
    return NAME_OF_32_BIT.get(machine, machine) if struct.calcsize("P") == 4 else machine


def check_machine(folder: Path, target: Dict[str, Any]) -> None:
    machine = this_machine()
    if machine in target["machines"]:
        return
    raise IntegrityError(
        f"{folder}: this bundle is for {target['architecture']}, this machine is {machine}: "
        "compile the model with --target for this machine"
    )


# ---- files ---------------------------------------------------------------------------------------

Advance = Callable[[int], None]


def ignore(count: int) -> None:
    """The Advance of callers who do not look."""


def check_file(
    folder: Path, name: str, size: int, digest: str, everything: bool, advance: Advance = ignore
) -> None:
    """One file of the manifest. `advance` hears of every block read. Raises IntegrityError."""
    path = folder / name
    try:
        found = path.stat().st_size
        if found != size:
            raise IntegrityError(f"{path} is damaged: {found} bytes, expected {size}; copy the bundle again")
        if everything or size <= ALWAYS_HASHED_BYTES:
            check_content(path, digest, advance)
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: copy the bundle again") from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror or error}") from error


def check_content(path: Path, digest: str, advance: Advance) -> None:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            sha256.update(block)
            advance(len(block))
    if sha256.hexdigest() != digest:
        raise IntegrityError(
            f"{path} is damaged: sha256 {sha256.hexdigest()}, expected {digest}; copy the bundle again"
        )
