"""Compiling with the form of the lm_head that was asked for, or that pays."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgebit.calibration import calibrated
from edgebit.compiler import CompiledModel, CompileOptions, Target, compile_graph
from edgebit.compiler.decoder import logits_table
from edgebit.compiler.head import ExactHead, HeadForm, Int8Head, S4Head
from edgebit.compiler.head_planes import PlanesDoNotPay
from edgebit.compiler.head_survivors import SurvivorCount
from edgebit.errors import UsageError
from edgebit.graph import OnnxModel
from edgebit.lossy import LossyWarning, effect_of_int8_cache, effect_of_int8_head
from edgebit.progress import Progress
from edgebit.screening import Screening, of_codes, of_planes, s4_pays, sampled_codes

SMALLEST_SCREENED = 1 << 24
"""Entries of a table (32 MB) from which on screening pays: preparing a query takes the time of reading some
megabytes.
"""


@contextmanager
def compile_with_head(
    graph: OnnxModel, target: Target, options: CompileOptions, head: str, progress: Progress
) -> Iterator[CompiledModel]:
    """The model compiled with its lm_head kept as ``head`` says: "exact", "s4", "full", "int8", or "auto".

    To be written before the block ends: its weights may come from a temporary file. What is lossy is
    measured, and told as a LossyWarning. Raises CompileError, TargetError, LinkError; PlanesDoNotPay for
    "exact" and "s4" only; UsageError for choices that a model without logits does not have.
    """
    if graph.makes_embeddings:
        for option, value, usual in (("head", head, "auto"), ("kv", options.kv, "f16")):
            if value != usual:
                raise UsageError(f"--{option} {value} is for models that answer; this one makes embeddings")
        yield compile_graph(graph, target, options, progress)
        return
    with tempfile.TemporaryDirectory(prefix="edgebit-calibration-") as folder:
        work = Path(folder)
        if options.kv == "int8":
            warnings.warn(effect_of_int8_cache(graph, work, progress), LossyWarning, stacklevel=3)
        if head == "int8":
            warnings.warn(effect_of_int8_head(graph, work, progress), LossyWarning, stacklevel=3)
            options = replace(options, form=Int8Head())
        compiled = None
        if head in ("exact", "s4") or (head == "auto" and _is_large(graph)):
            try:
                compiled = _screened(graph, target, options, head, work, progress)
            except PlanesDoNotPay:
                if head != "auto":
                    raise
        yield compiled or compile_graph(graph, target, options, progress)


def _is_large(graph: OnnxModel) -> bool:
    rows, columns = logits_table(graph.ir).shape.numpy()
    return bool(rows * columns >= SMALLEST_SCREENED)


def _screened(
    graph: OnnxModel, target: Target, options: CompileOptions, head: str, folder: Path, progress: Progress
) -> CompiledModel:
    tensor = logits_table(graph.ir)
    calibration = calibrated(graph, lambda: tensor.numpy(), options.kv, folder, progress)
    components, states, rows = calibration.components, calibration.states, tensor.shape.numpy()[0]

    def compiled(form: HeadForm) -> CompiledModel:
        result = compile_graph(graph, target, replace(options, form=form), progress)
        result.weights.take_body(calibration.weights, calibration.path)
        return result

    def with_codes() -> CompiledModel:
        planes, codes = (SurvivorCount(rows, states, components, rotated) for rotated in (False, True))
        result = compiled(S4Head(ExactHead(components, planes), codes))
        left = planes.result(tensor.numpy)
        screenings = of_planes(result.plan, left), of_codes(result.plan, codes.result(tensor.numpy), left)
        return _with_facts(result, screenings)

    if head == "s4":
        return with_codes()
    planes = SurvivorCount(rows, states, components)
    result = compiled(ExactHead(components, planes))
    left = planes.result(tensor.numpy)
    exact = of_planes(result.plan, left)
    if head == "exact":
        return _with_facts(result, [exact])
    s4 = of_codes(result.plan, sampled_codes(calibration, tensor.numpy, planes), left)
    return with_codes() if s4_pays(result, exact, s4) else _with_facts(result, [exact, s4])


def _with_facts(compiled: CompiledModel, screenings: Iterable[Screening]) -> CompiledModel:
    facts = {name: fact for screening in screenings for name, fact in screening.facts.items()}
    return replace(compiled, screening=facts)
