"""manifest.json: what a bundle is, for whom, and the size and sha256 of every file in it.

The file names its own digest too: `sha256` at the top is the sha256 of the file's bytes with these 64 digits
replaced by zeros, so one changed byte anywhere in a bundle is found. The reader on the device is
edgebit/runtime/integrity.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from edgebit.errors import BundleError
from edgebit.runtime.self_test import SAMPLES, AnySample

MANIFEST = "manifest.json"
FORMAT = 2
NO_DIGEST = "0" * 64

Facts = Mapping[str, "str | int | float | bool | Sequence[str] | None"]
Record = TypeVar("Record")


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    size: int
    sha256: str


@dataclass(frozen=True)
class TargetEntry:
    """The devices the bundle runs on."""

    name: str
    description: str
    architecture: str
    machines: list[str]  # values of platform.machine() there
    tiers: list[str]  # best first
    libc: str  # glibc, musl or bionic
    wheel_tag: str  # platform tag of Python wheels for these devices


@dataclass(frozen=True)
class WeightsEntry:
    """What weights.bin holds: the kernels of another layout must not read it."""

    layout: str
    id: str  # sha256 of everything after the header, as in the header and in libmodel.so


@dataclass(frozen=True)
class Manifest:
    """All of manifest.json. `model`, `plan` and `memory` are for people: the loader uses none of them."""

    edgebit: str
    format: int
    task: str  # what the model is for: generate, embed
    model: Facts
    target: TargetEntry
    plan: Facts
    memory: Facts
    weights: WeightsEntry
    self_test: list[AnySample]  # what the model answers wherever it runs
    files: Mapping[
        str, FileEntry
    ]  # by path with forward slashes, sorted; manifest.json itself is not among them

    def to_json(self) -> str:
        """The text of manifest.json, its own digest filled in. Equal manifests give equal bytes."""
        table = {"sha256": NO_DIGEST, **asdict(self)}
        table["files"] = {path: table["files"][path] for path in sorted(table["files"])}
        text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return text.replace(NO_DIGEST, digest, 1)


def parse_manifest(text: str, name: str = MANIFEST) -> Manifest:
    """The Manifest of a manifest.json. Raises BundleError naming `name` and the field where it is not one."""
    try:
        table = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{name}: not JSON: {error}") from error
    if not isinstance(table, dict) or "edgebit" not in table:
        raise BundleError(f"{name}: not the manifest of an edgebit bundle")
    if table.get("format") != FORMAT:
        found = table.get("format")
        raise BundleError(
            f"{name}: bundle format {found}, this edgebit reads {FORMAT}; compile the model again"
        )
    check_digest(text, table, name)
    try:
        return Manifest(
            edgebit=table["edgebit"],
            format=table["format"],
            task=table["task"],
            model=table["model"],
            target=record(TargetEntry, table["target"]),
            plan=table["plan"],
            memory=table["memory"],
            weights=record(WeightsEntry, table["weights"]),
            self_test=[record(SAMPLES[table["task"]], sample) for sample in table["self_test"]],
            files={path: record(FileEntry, entry) for path, entry in table["files"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{name}: field missing or of the wrong kind: {error}") from error


def check_digest(text: str, table: Mapping[str, object], name: str) -> None:
    digest = str(table.get("sha256"))
    if hashlib.sha256(text.replace(digest, NO_DIGEST, 1).encode("utf-8")).hexdigest() != digest:
        raise BundleError(
            f"{name}: was changed after the bundle was made; compile the model or copy the bundle again"
        )


def record(kind: type[Record], table: dict[str, Any]) -> Record:
    """A dataclass from exactly its fields; TypeError otherwise."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(table) != names:
        raise TypeError(f"{kind.__name__} has {sorted(table)}, expected {sorted(names)}")
    return kind(**table)
