"""Relax with operators → Relax with calls of fused TIR functions, each of static shapes."""

from __future__ import annotations

import tvm
from tvm import relax, tirx

from edgebit.compiler.general.known import canonical_constants
from edgebit.compiler.general.stages import stages_of
from edgebit.compiler.passes.fuse_linear import FuseLinear
from edgebit.errors import CompileError
from edgebit.schedules.canonical import canonical
from edgebit.schedules.default_schedule import read_nest

_TERNARY = ("edgebit.linear", "edgebit.float_linear", "edgebit.quantize_activation")


def legalize(module: tvm.IRModule) -> tvm.IRModule:
    """``main`` of ``module`` as calls of fused functions, reshapes, and ternary linears (``edgebit.linear``).

    Raises CompileError naming the node that has no such form.
    """
    linear = module.clone()
    linear["main"] = FuseLinear()(module["main"])
    lowered = tvm.ir.transform.Sequential(
        [
            relax.transform.DeadCodeElimination(),
            relax.transform.LegalizeOps(),
        ]
    )(linear)
    lowered = tvm.ir.transform.Sequential(
        [relax.transform.FoldConstant(), relax.transform.DeadCodeElimination()]
    )(canonical_constants(lowered))
    _check(lowered)
    return tvm.ir.transform.Sequential(
        [
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.RewriteDataflowReshape(),
            relax.transform.DeadCodeElimination(),
        ]
    )(lowered)


def _check(module: tvm.IRModule) -> None:
    """Every function can be scheduled, known while each still belongs to one node of the graph."""
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            value = binding.value
            if not isinstance(value, relax.Call) or value.op.same_as(tvm.ir.Op.get("relax.reshape")):
                continue
            name = f"node {binding.var.name}"
            if isinstance(binding.var.ty, relax.TensorType) and 0 in binding.var.ty.shape.values:
                raise CompileError(
                    f"{name}: it makes a tensor of no elements, {list(binding.var.ty.shape.values)}; "
                    "leave it out of the model"
                )
            if not value.op.same_as(tvm.ir.Op.get("relax.call_tir")):
                if str(value.op.name) not in _TERNARY:
                    raise CompileError(
                        f"{name}: {value.op.name} has no kernel of static shapes; "
                        "replace it in the model, or export it with fixed shapes"
                    )
                continue
            _check_function(name, module[value.args[0]])


def _check_function(name: str, function: tirx.PrimFunc) -> None:
    try:
        for stage in stages_of(function):
            nest = read_nest(stage.function)
            canonical(nest.statement)
    except CompileError as error:
        raise CompileError(f"{name}: {error}") from error
