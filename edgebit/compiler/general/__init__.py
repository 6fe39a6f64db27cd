"""Graphs of any operators, of static shapes: ONNX → Relax → TIR → steps; ternary products by our kernels."""

from edgebit.compiler.general.compile import plan_graph

__all__ = ["plan_graph"]
