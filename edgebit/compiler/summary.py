"""The plan as facts for people and for `edgebit bench`: what each step is and how many weights it streams."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgebit.compiler.head_s4 import row_bytes
from edgebit.compiler.memory import align
from edgebit.compiler.plan import CHUNK, Argument, HeadKind, Plan, Space, Step, Value
from edgebit.compiler.weights import ROWS

Facts = Mapping[str, "str | int | float | bool | list[str] | None"]

_COMPONENT_BYTES = 128  # of a row of the first plane: int16 coefficients of 64 components
_BOUND_BYTES = 20  # of a row: five floats
_LAYER = re.compile(r"(^|_)(model_)?layers_\d+_")


def summarize(plan: Plan) -> Facts:
    """``kinds``: "KERNEL BYTES LABEL", each once; ``decode``, ``prefill``, ``head``: the steps as indices
    into it, head with what the runtime does behind its steps. BYTES are those of weights.bin that one run of
    the step streams; those of decode lie in the ``streamed_bytes`` from ``streamed_offset`` on.
    ``cache_bytes_per_token``: what attention reads for each token of the context. ``logits_bytes``,
    ``screen_bytes``, ``row_bytes``, ``refine_bytes``: what all logits of a token, screening them, one logit,
    and screening one row again read.
    """
    lists = {
        "decode": [_kind(step) for step in plan.decode],
        "prefill": [_kind(step) for step in plan.prefill],
        "head": [*(_kind(step) for step in plan.head), *_head_parts(plan)],
    }
    kinds = list(dict.fromkeys(kind for steps in lists.values() for kind in steps))
    index = {kind: str(i) for i, kind in enumerate(kinds)}
    kernels = Counter(step.kernel.symbol for step in (*plan.decode, *plan.head))
    offset, size = _span(plan.decode)
    head = _head_bytes(plan)
    return {
        "steps_per_token": len(plan.decode) + len(plan.head),
        "chunk": CHUNK,
        "kernels": [f"{name} x {count}" for name, count in sorted(kernels.items())],
        "kinds": kinds,
        **{name: " ".join(index[kind] for kind in steps) for name, steps in lists.items()},
        "streamed_offset": offset,
        "streamed_bytes": size,
        "cache_bytes_per_token": plan.cache_bytes // plan.context,
        "logits_bytes": head.logits,
        "screen_bytes": head.screen,
        "row_bytes": head.row,
        "refine_bytes": head.refine,
    }


def summarize_run(plan: Plan) -> Facts:
    """Of a graph of tensors: its ``steps`` in order and the ``kernels`` they use."""
    kernels = Counter(step.kernel.symbol for step in plan.run)
    return {
        "steps": [f"{step.kernel.name} {step.label}" for step in plan.run],
        "kernels": [f"{name} x {count}" for name, count in sorted(kernels.items())],
    }


def _kind(step: Step) -> str:
    return f"{step.kernel.name} {streamed_bytes(step)} {_LAYER.sub('', step.label)}"


@dataclass(frozen=True)
class _HeadBytes:
    """What finding tokens reads: all logits of a token, screening them, one logit after screening, screening
    one row again.
    """

    logits: int
    screen: int
    row: int
    refine: int = 0


def _head_bytes(plan: Plan) -> _HeadBytes:
    """Sizes of the sections of head_planes.py, head_s4.py and weights.py."""
    head, rows = plan.logits, plan.vocab_size
    if head.kind in (HeadKind.EXACT, HeadKind.S4):
        first, second = _COMPONENT_BYTES + head.plane_width * 3 // 4, head.plane_width * 5 // 4
        has_codes = head.kind == HeadKind.S4
        screened = (row_bytes(head.plane_width) if has_codes else first) + _BOUND_BYTES
        refined = first + _BOUND_BYTES if has_codes else 0
        return _HeadBytes(rows * (first + second), align(rows, ROWS) * screened, first + second, refined)
    if head.kind == HeadKind.NONE:
        return _HeadBytes(0, 0, 0)
    row = 2 * head.width if head.kind == HeadKind.FULL else head.width + 4
    return _HeadBytes(rows * row, 0, row)


def _head_parts(plan: Plan) -> list[str]:
    """What the runtime does behind the head steps of the plan (head.c, and the stages of head_screen.c)."""
    if plan.logits.kind == HeadKind.NONE:
        return []
    size, kernels = _head_bytes(plan), plan.logits.kernels
    logits = kernels["lm_head"].name
    parts = [f"{logits} {size.logits} all_logits"]
    if plan.logits.kind == HeadKind.EXACT:
        parts += [
            "head_select 0 query",
            f"{kernels['screen'].name} {size.screen} screen",
            "head_select 0 rank",
            f"{logits} 0 leaders",
            "head_select 0 select",
            "head_select 0 gather",
            f"{logits} 0 survivors",
        ]
    if plan.logits.kind == HeadKind.S4:
        parts += [
            "head_select 0 query",
            f"{kernels['screen_codes'].name} {size.screen} screen",
            "head_select 0 rank",
            f"{logits} 0 leaders",
            "head_select 0 select",
            "head_select 0 gather",
            f"{kernels['screen'].name} 0 refine",
            "head_select 0 rank_again",
            f"{logits} 0 leaders_again",
            "head_select 0 select_again",
            "head_select 0 gather_again",
            f"{logits} 0 survivors",
        ]
    return parts


def streamed_bytes(step: Step) -> int:
    """Bytes of weights that the units of a step stride through. Rows looked up by token or position, and
    norm weights, are not among them: kilobytes.
    """
    return sum(_streamed(step, argument) for argument in step.buffers)


def _streamed(step: Step, argument: Argument) -> int:
    if argument.space != Space.WEIGHTS or step.units.kind != Value.CONSTANT:
        return 0
    return step.units.value * argument.unit_stride


def _span(steps: Iterable[Step]) -> tuple[int, int]:
    """(offset, size) of the part of weights.bin that holds all that the steps stream."""
    parts: Sequence[tuple[int, int]] = [
        (argument.offset, argument.offset + _streamed(step, argument))
        for step in steps
        for argument in step.buffers
        if _streamed(step, argument)
    ]
    first, last = min(begin for begin, _ in parts), max(end for _, end in parts)
    return first, last - first
