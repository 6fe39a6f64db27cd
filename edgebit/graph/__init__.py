"""ONNX: the ai.edgebit operators, the graph builder, model files."""

from __future__ import annotations

from edgebit.graph.builder import build
from edgebit.graph.checker import check
from edgebit.graph.matmulnbits import with_matmulnbits
from edgebit.graph.model import GraphMetadata, OnnxModel
from edgebit.graph.storage import load, save

__all__ = ["GraphMetadata", "OnnxModel", "build", "check", "load", "save", "with_matmulnbits"]
