"""Forms of one checkpoint that the engines read, made once and kept in a work folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import edgebit
from benchmarks.peer.checkpoints import first_layers, with_activation, write_masters
from benchmarks.peer.child import ROOT, Installed, PeerError, child_environment
from edgebit.model import ModelConfig, open_checkpoint

LONGEST_CONTEXT = 2048  # tokens an edgebit bundle is compiled for, where the model has as many positions
CHECKPOINT = "checkpoint"  # the form that needs no making
HUB_REPOSITORY = "edgebit/synthetic"  # what litespark_cpu.py asks the hub's cache for
REQUANTIZE = "benchmarks.peer.requantize"
_STAMP = "made_from.txt"

Maker = Callable[["Models", Path], None]


class Models:
    """All forms of one checkpoint in one folder.

    The folder belongs to that checkpoint and says so in a file. Bundles belong to the edgebit that compiled
    them, too: their name holds a digest of its sources.
    """

    def __init__(self, checkpoint: Path, folder: Path, quantizer: Installed | None) -> None:
        self.checkpoint = checkpoint
        self.folder = folder
        self.quantizer = quantizer
        folder.mkdir(parents=True, exist_ok=True)
        self._claim()

    def get(self, kind: str) -> Path:
        """The model in the form `kind`, made if it is not there."""
        if kind == CHECKPOINT:
            return self.checkpoint
        path = self.folder / (f"{kind}-{source_digest()}" if kind.endswith("bundle") else kind)
        if not path.exists():
            made = path.with_name(f"{path.name}.partial")
            _remove(made)
            MAKERS[kind](self, made)
            made.replace(path)
        return path

    @cached_property
    def config(self) -> ModelConfig:
        return open_checkpoint(self.checkpoint).config

    def cut(self, layers: int) -> Models:
        """The first `layers` layers, in a folder of their own."""
        kept = self.folder / f"first-{layers}-layers"
        checkpoint = kept / "checkpoint"
        if not checkpoint.exists():
            made = kept / "checkpoint.partial"
            _remove(made)
            first_layers(self.checkpoint, layers, made)
            made.replace(checkpoint)
        return Models(checkpoint, kept, self.quantizer)

    def _claim(self) -> None:
        config = (self.checkpoint / "config.json").read_text()
        weights = sorted(self.checkpoint.glob("*.safetensors"))
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
        claim = f"{self.checkpoint.resolve()}\n{facts}\n{config}\n"
        stamp = self.folder / _STAMP
        if stamp.exists() and stamp.read_text() != claim:
            raise PeerError(
                f"{self.folder}: holds models of another checkpoint, or of this one before it changed; "
                "remove the folder or give another --work"
            )
        stamp.write_text(claim)


def source_digest() -> str:
    """Twelve hexadecimal digits over every source file of the edgebit that is imported."""
    digest = hashlib.sha256()
    package = Path(edgebit.__file__).parent
    for folder in sorted({package, *(path.resolve() for path in package.iterdir() if path.is_symlink())}):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".c", ".h", ".toml") and path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _bundle(models: Models, path: Path) -> None:
    """Replaces the bundles that other versions of edgebit compiled."""
    for older in models.folder.glob("bundle-*"):
        _remove(older)
    edgebit.compile(models.checkpoint, "host", path, _context(models))


def _silu_bundle(models: Models, path: Path) -> None:
    twin = models.folder / "silu-checkpoint"
    _remove(twin)
    with_activation(models.checkpoint, "silu", twin)
    for older in models.folder.glob("silu-bundle-*"):
        _remove(older)
    edgebit.compile(twin, "host", path, _context(models))


def _context(models: Models) -> int:
    return min(LONGEST_CONTEXT, models.config.max_position_embeddings)


def _onnx(models: Models, path: Path) -> None:
    edgebit.export(models.checkpoint, path)


def _matmulnbits(models: Models, path: Path) -> None:
    edgebit.export(models.checkpoint, path, flavor="matmulnbits")


def _masters(models: Models, path: Path) -> None:
    write_masters(models.checkpoint, HUB_REPOSITORY, path)


def _gguf_f16(models: Models, path: Path) -> None:
    _gguf(models, path, "f16")


def _gguf_bf16(models: Models, path: Path) -> None:
    _gguf(models, path, "bf16")


def _gguf(models: Models, path: Path, head: str) -> None:
    if find_spec("gguf") is None:
        raise PeerError("the gguf package is missing, which writes models for llama.cpp: pip install gguf")
    from benchmarks.peer.gguf_file import write_gguf

    write_gguf(open_checkpoint(models.checkpoint), path, head)


def _gguf_q6_k(models: Models, path: Path) -> None:
    """llama.cpp quantises its own head, where it is installed."""
    assert models.quantizer
    command = [models.quantizer.python, "-m", REQUANTIZE, str(models.get("gguf-f16")), str(path)]
    made = subprocess.run(command, cwd=ROOT, env=child_environment(1), capture_output=True, text=True)
    if made.returncode:
        raise PeerError(f"{path}: llama.cpp does not quantise the head, {made.stderr.strip()[-200:]}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


MAKERS: Mapping[str, Maker] = {
    "bundle": _bundle,
    "silu-bundle": _silu_bundle,
    "onnx": _onnx,
    "matmulnbits": _matmulnbits,
    "masters": _masters,
    "gguf-f16": _gguf_f16,
    "gguf-bf16": _gguf_bf16,
    "gguf-q6_k": _gguf_q6_k,
}
