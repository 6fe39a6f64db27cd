"""Writing a bundle: everything is made in a temporary folder beside the output and renamed at the end.

An error at any moment leaves nothing behind and an existing bundle as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from edgebit.bundle.link import LIBRARY, NATIVE, compiled_parts, library_of
from edgebit.bundle.manifest import FORMAT, MANIFEST, Facts, FileEntry, Manifest, TargetEntry, WeightsEntry
from edgebit.bundle.program import PROGRAM, program_of
from edgebit.bundle.readme import bundle_readme
from edgebit.compiler.target import Target
from edgebit.errors import BundleError
from edgebit.folders import replacing
from edgebit.progress import SILENT, Progress
from edgebit.runtime.engine import TASK_EMBED, TASK_GENERATE, TASK_RUN
from edgebit.runtime.self_test import AnySample
from edgebit.version import VERSION

WEIGHTS = "weights.bin"
TOKENIZER = "tokenizer.bin"
HEADER = "edgebit.h"
RUNTIME = "edgebit_runtime"
WEIGHTS_LAYOUT = "U16"

PACKAGE = Path(__file__).resolve().parent.parent
LAUNCHER = Path(__file__).resolve().parent / "launcher"
PROGRAMS = {  # by task
    TASK_GENERATE: (LAUNCHER / "bench.py", LAUNCHER / "chat.py", LAUNCHER / "doctor.py"),
    TASK_EMBED: (LAUNCHER / "bench.py", LAUNCHER / "doctor.py", LAUNCHER / "embed.py"),
    TASK_RUN: (LAUNCHER / "bench.py", LAUNCHER / "doctor.py"),
}
LICENSE = Path(__file__).resolve().parent / "LICENSE"


class WeightsFile(Protocol):
    """weights.bin to be: streamed, never whole in memory."""

    @property
    def size(self) -> int: ...

    def write(self, file: BinaryIO, advance: Callable[[int, int], None]) -> bytes:
        """Writes the whole file, header included, and returns its id (32 bytes)."""
        ...


class CompiledModel(Protocol):
    """What the compiler hands over (edgebit.compiler.CompiledModel)."""

    @property
    def task(self) -> str: ...
    @property
    def target(self) -> Target: ...
    @property
    def objects(self) -> Mapping[str, Sequence[bytes]]: ...  # relocatable objects by tier, best first
    @property
    def weights(self) -> WeightsFile: ...
    @property
    def model_facts(self) -> Facts: ...
    @property
    def plan_summary(self) -> Facts: ...
    @property
    def memory(self) -> Facts: ...

    def plan_source(self, weights_id: bytes) -> str:
        """plan.c for a weights.bin of this id."""
        ...


class Tester(Protocol):
    """Who knows what the model must answer (edgebit.self_test.SelfTest)."""

    def record(self, folder: Path, weights_id: bytes) -> Sequence[AnySample]:
        """What the model in `folder` (weights, library and tokenizer) answers: for the manifest."""
        ...

    def run(self, bundle: Path) -> None:
        """Refuse a complete bundle that answers otherwise, by an EdgebitError."""
        ...


class Untested:
    """The Tester of what is no model."""

    def record(self, folder: Path, weights_id: bytes) -> Sequence[AnySample]:
        return []

    def run(self, bundle: Path) -> None:
        pass


def write(
    compiled: CompiledModel,
    text_table: bytes | None,
    output: Path,
    tester: Tester,
    progress: Progress = SILENT,
    native: Path = NATIVE,
) -> Path:
    """Write the bundle folder `output` and return it; `text_table` is the content of tokenizer.bin, None
    where the model has no texts.

    An existing bundle is replaced, any other existing thing is refused. Equal models give equal bytes.
    Raises BundleError, LinkError, and what the tester does.
    """
    output = check_output(output)
    with replacing(output, BundleError) as folder:
        progress.stage("weights")
        with (folder / WEIGHTS).open("wb") as file:
            weights_id = compiled.weights.write(file, progress.advance)
        progress.stage("link")
        plan_source = compiled.plan_source(weights_id)
        with compiled_parts(compiled.target, plan_source, compiled.objects, native) as parts:
            (folder / LIBRARY).write_bytes(library_of(parts))
            (folder / PROGRAM).write_bytes(program_of(parts))
        if text_table is not None:
            (folder / TOKENIZER).write_bytes(text_table)
        progress.stage("self-test")
        samples = list(tester.record(folder, weights_id))
        progress.stage("bundle")
        programs = PROGRAMS[compiled.task]
        copy_runtime(folder, native, programs)
        readme = bundle_readme(compiled.task, compiled.model_facts, compiled.target, compiled.memory)
        (folder / "README.md").write_text(readme, "utf-8")
        manifest = describe(compiled, weights_id, samples, folder)
        (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
        set_modes(folder, programs)
        tester.run(folder)
    return output


def describe(compiled: CompiledModel, weights_id: bytes, samples: list[AnySample], folder: Path) -> Manifest:
    """The manifest of a folder that is complete but for the manifest."""
    target = compiled.target
    return Manifest(
        edgebit=VERSION,
        format=FORMAT,
        task=compiled.task,
        model=compiled.model_facts,
        target=TargetEntry(
            name=target.name,
            description=target.description,
            architecture=target.architecture,
            machines=list(target.machines),
            tiers=list(compiled.objects),
            libc=target.libc,
            wheel_tag=target.wheel_tag,
        ),
        plan=compiled.plan_summary,
        memory=compiled.memory,
        weights=WeightsEntry(layout=WEIGHTS_LAYOUT, id=weights_id.hex()),
        self_test=samples,
        files={path.relative_to(folder).as_posix(): file_entry(path) for path in files_of(folder)},
    )


def copy_runtime(folder: Path, native: Path, programs: Sequence[Path]) -> None:
    """The loader (standard-library Python), the programs, the C header, and the license of all."""
    runtime = folder / RUNTIME
    runtime.mkdir()
    for path in sorted((PACKAGE / "runtime").glob("*.py")):
        shutil.copyfile(path, runtime / path.name)
    for program in programs:
        shutil.copyfile(program, folder / program.name)
    shutil.copyfile(native / HEADER, folder / HEADER)
    shutil.copyfile(LICENSE, folder / "LICENSE")


def files_of(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def file_entry(path: Path) -> FileEntry:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return FileEntry(size=path.stat().st_size, sha256=digest.hexdigest())


def set_modes(folder: Path, programs: Sequence[Path]) -> None:
    """Readable by all whatever the umask; only the programs at the root are executable."""
    executable = {folder / PROGRAM, *(folder / program.name for program in programs)}
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path in executable else 0o644)


def check_output(output: Path) -> Path:
    """The folder to write, links resolved. Raises BundleError where anything but a bundle is.

    Callers with much to do first call it at the start, so that nobody waits for a refusal.
    """
    output = Path(output).resolve()
    try:
        if output.exists() and not output.is_dir():
            raise BundleError(f"{output} exists and is not a folder; choose another name")
        if output.exists() and any(output.iterdir()) and not is_bundle(output):
            raise BundleError(f"{output} exists and is not an edgebit bundle; choose another or remove it")
        check_writable(output)
    except OSError as error:
        raise BundleError(f"{output}: {error.strerror}; choose another folder") from error
    return output


def check_writable(output: Path) -> None:
    """Raises BundleError where no folder can be made at `output`, as far as that can be told before."""
    above = next(folder for folder in output.parents if folder.exists())
    if not above.is_dir():
        raise BundleError(f"{output}: {above} is not a folder; choose another name")
    if not os.access(above, os.W_OK | os.X_OK):
        raise BundleError(f"{output}: {above} cannot be written to; choose another folder")


def is_bundle(folder: Path) -> bool:
    try:
        return "edgebit" in json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False
