"""ONNX → Relax → fused kernels → static plan → object code; weight packing."""

from edgebit.compiler.compile import compile_graph
from edgebit.compiler.compiled import CompiledModel
from edgebit.compiler.target import Target, load_target

__all__ = ["CompiledModel", "Target", "compile_graph", "load_target"]
