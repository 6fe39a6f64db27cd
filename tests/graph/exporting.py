"""Checkpoint in, ONNX folder out."""

from __future__ import annotations

from pathlib import Path

from edgebit.graph import build, save
from edgebit.model import open_checkpoint


def export(checkpoint: Path, folder: Path) -> Path:
    return save(build(open_checkpoint(checkpoint)), folder)
