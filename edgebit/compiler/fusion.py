"""From the imported graph to kernel operators only."""

from __future__ import annotations

import tvm
from tvm import relax

from edgebit.compiler.passes import PASSES
from edgebit.errors import CompileError


def fuse(module: tvm.IRModule) -> relax.Function:
    """Run every pass over ``main``, drop what is dead, and return the fused function.

    Raises CompileError where an operator is left that no kernel computes; the message names the node.
    """
    function = module["main"]
    for rewrite in PASSES:
        function = rewrite(function)
    fused = relax.transform.DeadCodeElimination()(tvm.IRModule({"main": function}))["main"]
    for variable, value in bindings(fused):
        if isinstance(value, relax.Call) and not value.op.name.startswith("edgebit."):
            raise CompileError(
                f"node {variable.name}: no kernel computes {value.op.name} here; "
                "the decoder has another form than edgebit fuses"
            )
    return fused


def bindings(function: relax.Function) -> list[tuple[relax.Var, relax.Expr]]:
    """The (variable, expression) pairs of a function in order."""
    return [(binding.var, binding.value) for block in function.body.blocks for binding in block.bindings]
