"""ONNX → Relax → fused kernels → static plan → object code; weight packing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebit.compiler.target import Target, load_target

if TYPE_CHECKING:
    from edgebit.compiler.compile import compile_graph
    from edgebit.compiler.compiled import CompiledModel
    from edgebit.compiler.options import CompileOptions

__all__ = ["CompileOptions", "CompiledModel", "Target", "compile_graph", "load_target"]


def __getattr__(name: str) -> object:
    """TVM takes seconds to import: not before something is compiled (reading bundles needs none)."""
    if name == "compile_graph":
        from edgebit.compiler.compile import compile_graph

        return compile_graph
    if name == "CompiledModel":
        from edgebit.compiler.compiled import CompiledModel

        return CompiledModel
    if name == "CompileOptions":
        from edgebit.compiler.options import CompileOptions

        return CompileOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
