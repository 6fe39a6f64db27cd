"""A bundle as a Python wheel: `pip install ./x.whl` on the device, then `import` (PEP 427, PEP 600, PEP 656).

Files are stored uncompressed and streamed, so that a wheel of gigabytes takes no memory; the same bundle
gives the same bytes. Installed, the package is the bundle folder: weights are mapped from the file there.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import keyword
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgebit.bundle.manifest import MANIFEST, Manifest, parse_manifest
from edgebit.errors import BundleError
from edgebit.progress import SILENT, Progress
from edgebit.version import VERSION

BLOCK = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip file can say
UNIX = 3  # of zip: permissions are those of Unix
LAUNCHER = Path(__file__).resolve().parent / "launcher"
PACKAGE_FILES = {"__init__.py": "package_init.py", "__main__.py": "package_main.py"}


@dataclass(frozen=True)
class Naming:
    """Names of one wheel: ``module`` to import, ``version``, ``tags`` of platforms, the newest first."""

    module: str
    version: str
    tags: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{self.module}-{self.version}-py3-none-{'.'.join(self.tags)}.whl"

    @property
    def information(self) -> str:
        """The folder of metadata."""
        return f"{self.module}-{self.version}.dist-info"


def write_wheel(bundle: Path, folder: Path, progress: Progress = SILENT) -> Path:
    """Write the wheel of a bundle into ``folder``, where one of the same name is replaced; its path.

    Raises BundleError where the bundle is none or the wheel cannot be written: then there is none.
    """
    progress.stage("wheel")
    try:
        manifest = parse_manifest((bundle / MANIFEST).read_text("utf-8"), str(bundle / MANIFEST))
        names = naming(manifest)
        with replacing_file(folder / names.file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            fill(Archive(archive, progress, total_size(manifest)), names, bundle, manifest)
    except OSError as error:
        raise BundleError(
            f"{error.filename or folder}: {error.strerror or error}; no wheel was written"
        ) from error
    return folder / names.file


def naming(manifest: Manifest) -> Naming:
    return Naming(
        module_name(str(manifest.model.get("name") or "")),
        manifest.edgebit,
        tuple(manifest.target.wheel_tag.split(".")),
    )


def module_name(model: str) -> str:
    """A name Python can import: bitnet-2B-4T becomes bitnet_2b_4t."""
    name = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")
    if not name or name[0].isdigit() or keyword.iskeyword(name) or name in sys.stdlib_module_names:
        return f"model_{name}".rstrip("_")
    return name


def total_size(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())


def fill(archive: Archive, names: Naming, bundle: Path, manifest: Manifest) -> None:
    """Package, metadata, and at the end the record of both."""
    for name, source in PACKAGE_FILES.items():
        archive.add(f"{names.module}/{name}", LAUNCHER / source)
    for name in sorted(manifest.files):
        if archive.add(f"{names.module}/{name}", bundle / name) != manifest.files[name].sha256:
            raise BundleError(
                f"{bundle / name} was changed after the bundle was made; compile the model again"
            )
    archive.add(f"{names.module}/{MANIFEST}", bundle / MANIFEST)
    archive.add_text(f"{names.information}/METADATA", metadata(names, manifest, bundle))
    archive.add_text(f"{names.information}/WHEEL", wheel_facts(names))
    record = f"{names.information}/RECORD"
    archive.add_text(record, archive.record(record))


def metadata(names: Naming, manifest: Manifest, bundle: Path) -> str:
    """Core metadata, the README of the bundle as the description."""
    fields = (
        ("Metadata-Version", "2.1"),
        ("Name", names.module.replace("_", "-")),
        ("Version", names.version),
        ("Summary", f"{manifest.model.get('name')}, a language model compiled by edgebit"),
        ("Requires-Python", ">=3.8"),
        ("Description-Content-Type", "text/markdown"),
    )
    header = "".join(f"{key}: {' '.join(value.split())}\n" for key, value in fields)
    return f"{header}\n{(bundle / 'README.md').read_text('utf-8')}"


def wheel_facts(names: Naming) -> str:
    tags = "".join(f"Tag: py3-none-{tag}\n" for tag in names.tags)
    return f"Wheel-Version: 1.0\nGenerator: edgebit {VERSION}\nRoot-Is-Purelib: false\n{tags}"


class Archive:
    """A zip file of stored entries that remembers the digest of each."""

    def __init__(self, archive: zipfile.ZipFile, progress: Progress, total: int) -> None:
        self._archive = archive
        self._progress = progress
        self._total = total
        self._done = 0
        self._rows: list[tuple[str, str, str]] = []

    def add(self, name: str, path: Path) -> str:
        """A file, with its permissions; its sha256."""
        facts = path.stat()
        with path.open("rb") as file:
            mode = 0o755 if facts.st_mode & 0o100 else 0o644
            return self._write(name, mode, facts.st_size, lambda: file.read(BLOCK))

    def add_text(self, name: str, text: str) -> None:
        data = text.encode("utf-8")
        self._write(name, 0o644, len(data), io.BytesIO(data).read)

    def record(self, own_name: str) -> str:
        """RECORD: path, digest and size of all entries so far; its own row has neither."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*self._rows, (own_name, "", "")])
        return text.getvalue()

    def _write(self, name: str, mode: int, size: int, read: Callable[[], bytes]) -> str:
        entry = zipfile.ZipInfo(name, EPOCH)
        entry.create_system = UNIX
        entry.external_attr = (0o100000 | mode) << 16
        entry.file_size = size  # from 2 GB on the entry's header is a longer one
        digest = hashlib.sha256()
        with self._archive.open(entry, "w") as output:
            while block := read():
                output.write(block)
                digest.update(block)
                self._done += len(block)
                self._progress.advance(self._done, max(self._done, self._total))
        encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        self._rows.append((name, f"sha256={encoded}", str(size)))
        return digest.hexdigest()


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, or vanishes on an error."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
