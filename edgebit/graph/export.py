"""Checkpoint in, ONNX folder out."""

from __future__ import annotations

from pathlib import Path

from edgebit.graph.builder import build
from edgebit.graph.storage import save
from edgebit.model import open_checkpoint
from edgebit.progress import SILENT, Progress


def export(source: str | Path, output: str | Path, progress: Progress = SILENT) -> Path:
    """Write the ONNX graph of a checkpoint folder or hub repository as folder ``output`` and return that.

    Raises EdgebitError in one of its model or graph kinds; an error leaves no folder behind and an existing
    export as it was.
    """
    progress.stage(f"open {source}")
    checkpoint = open_checkpoint(source)
    progress.stage(f"write {output}")
    return save(build(checkpoint), output, progress)
