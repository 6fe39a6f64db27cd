"""The compiler: an ONNX decoder in, plan, weights and kernel objects out."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import onnx_ir as ir
from tvm import relax

from edgebit.compiler.compiled import CompiledModel
from edgebit.compiler.debug import LEVEL_GRAPH, show
from edgebit.compiler.decoder import check_decoder
from edgebit.compiler.fusion import fuse
from edgebit.compiler.general import plan_graph
from edgebit.compiler.importer import ImportedGraph, import_onnx
from edgebit.compiler.kernels import build_objects
from edgebit.compiler.memory import align
from edgebit.compiler.options import CompileOptions
from edgebit.compiler.plan import Plan
from edgebit.compiler.planner import plan
from edgebit.compiler.target import Target
from edgebit.compiler.weights import Weights
from edgebit.errors import CompileError
from edgebit.graph import OnnxModel
from edgebit.graph.model import EMBEDDING, LOGITS
from edgebit.progress import Progress, Silent

_CONTEXT_MULTIPLE = 16  # keys of a cache block

_FUSED: WeakKeyDictionary[ir.Model, tuple[ImportedGraph, relax.Function]] = WeakKeyDictionary()
"""A graph is planned several times, to be run for calibration and to be written: it is fused once."""


def compile_graph(
    model: OnnxModel,
    target: Target,
    options: CompileOptions | None = None,
    progress: Progress | None = None,
) -> CompiledModel:
    """Compile a decoder as the options ask, or a graph of tensors, which has none.

    Weights are not read here beyond scales, norms and what the lm_head's form needs: the result streams them
    when it is written. Raises CompileError, TargetError.
    """
    chosen = options or CompileOptions()
    report = progress or Silent()
    if model.is_language_model:
        execution, weights = _plan_decoder(model, chosen, report)
    else:
        report.stage("import and plan")
        execution, weights = plan_graph(model.ir)
    steps = (*execution.decode, *execution.prefill, *execution.head, *execution.run)
    show(LEVEL_GRAPH, "plan", lambda: "\n".join(map(str, steps)))
    objects: dict[str, Sequence[bytes]] = {}
    linked: set[str] = set()
    for name in target.tiers:
        report.stage(f"kernels {name}")
        built = build_objects(execution.kernels, target.tier(name), target.triple, linked)
        objects[name] = tuple(built.values())
        linked |= built.keys()
    return CompiledModel(model.metadata, target, execution, weights, objects)


def _plan_decoder(model: OnnxModel, options: CompileOptions, report: Progress) -> tuple[Plan, Weights]:
    length = _context(model, options.context)
    if model.ir not in _FUSED:
        report.stage("import and fuse")
        decoder = check_decoder(model.ir)
        output = EMBEDDING if model.makes_embeddings else LOGITS
        imported = import_onnx(model.ir, outputs=(output,), windows=decoder.windows)
        show(LEVEL_GRAPH, "imported graph", imported.module.script)
        fused = fuse(imported.module)
        show(LEVEL_GRAPH, "fused graph", fused.script)
        _FUSED[model.ir] = imported, fused
    report.stage("plan")
    return plan(*_FUSED[model.ir], model.ir.graph.initializers, length, options)


def _context(model: OnnxModel, context: int | None) -> int:
    longest = model.metadata.context_length
    if context is None:
        return align(longest, _CONTEXT_MULTIPLE)
    if not 1 <= context <= longest:
        raise CompileError(f"context of {context} tokens: model {model.metadata.name} takes 1 to {longest}")
    return align(context, _CONTEXT_MULTIPLE)
