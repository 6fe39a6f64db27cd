"""Counted work and predictions as tables, for the terminal and for RESULTS.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from benchmarks.arm.boards import ASSUMPTIONS, BOARDS, Prediction, Work, predict
from benchmarks.arm.cycles import llvm_version
from benchmarks.arm.measure import PROMPT, TokenWork, total
from benchmarks.peer.report import markdown_table
from edgebit.commands.console import size_text
from edgebit.version import VERSION

Measured = Mapping[str, Mapping[str, TokenWork]]  # model, tier
_SHOWN = 0.002  # share of a token's instructions below which a kernel gets no row of its own


@dataclass(frozen=True)
class TextTable:
    """Cells as text; the first row is the head, the first ``names`` columns are words."""

    title: str
    rows: Sequence[Sequence[str]]
    names: int


def tables(measured: Measured) -> Iterator[TextTable]:
    yield _prediction_table(measured)
    for model, tiers in measured.items():
        for tier, work in tiers.items():
            yield _work_table(f"{model}, {tier}: a decoded token behind {PROMPT} others", work.decode)
            yield _work_table(f"{model}, {tier}: a token of a prompt of {PROMPT}", work.prefill)


def as_json(measured: Measured) -> dict[str, Any]:
    return {
        "conditions": conditions(),
        "assumptions": list(ASSUMPTIONS),
        "prompt": PROMPT,
        "work": {
            model: {tier: asdict(work) for tier, work in tiers.items()} for model, tiers in measured.items()
        },
        "predictions": [asdict(one) for one in predictions(measured)],
    }


def markdown(measured: Measured) -> str:
    """A section of RESULTS.md."""
    first, *others = tables(measured)
    parts = [
        "## ARM boards, predicted and not measured: `python -m benchmarks.arm_model`",
        "\n".join(f"* {name}: {value}" for name, value in conditions().items()),
        f"{first.title}:",
        markdown_table(first.rows),
        "\n".join(f"* {assumption}" for assumption in ASSUMPTIONS),
        *(f"### {table.title}\n\n{markdown_table(table.rows)}" for table in others),
    ]
    return "\n\n".join(parts) + "\n"


def conditions() -> dict[str, str]:
    """Versions of what counted: another compiler gives other instructions."""
    qemu = subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\S+)", qemu)
    return {
        "edgebit": f"{VERSION}, kernels by TVM {version('apache-tvm')}",
        "qemu": found.group(1) if found else "unknown",
        "llvm-mca": f"LLVM {llvm_version()}",
    }


def predictions(measured: Measured) -> Iterator[Prediction]:
    for model, tiers in measured.items():
        for board in BOARDS:
            work = tiers[board.processor.tier]
            for threads in (1, board.cores):
                for phase, tokens in (("decode", work.decode), ("prefill", work.prefill)):
                    yield predict(board, model, phase, tokens, threads)


def _prediction_table(measured: Measured) -> TextTable:
    rows: dict[tuple[str, str, int], list[str]] = {}
    for one in predictions(measured):
        cell = f"{_speed(one.low)} – {_speed(one.high)}"
        rows.setdefault((one.board, one.model, one.threads), []).append(cell)
    head = ["board", "model", "threads", "decode", "prefill"]
    body = [[board, model, str(threads), *cells] for (board, model, threads), cells in rows.items()]
    return TextTable("Predicted tokens per second, low to high", [head, *body], names=2)


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _work_table(title: str, work: Sequence[Work]) -> TextTable:
    whole = total(work)
    shown = [one for one in work if one.instructions >= _SHOWN * whole.instructions]
    small = [one for one in work if one.instructions < _SHOWN * whole.instructions]
    rows = [*sorted(shown, key=lambda one: -one.instructions)]
    if small:
        rows.append(total(small, f"{len(small)} more"))
    head = ["kernel", "place", "calls", "instructions", "SIMD", "cycles", "weights"]
    return TextTable(title, [head, *(_cells(one) for one in [*rows, whole])], names=2)


def _cells(one: Work) -> list[str]:
    return [
        one.kernel,
        one.label,
        f"{one.calls:.3g}",
        f"{one.instructions:,.0f}",
        f"{one.simd / max(one.instructions, 1):.0%}",
        f"{one.cycles:,.0f}",
        size_text(round(one.weight_bytes)),
    ]
