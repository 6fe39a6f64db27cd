"""What screened forms of an lm_head read for a token, counted on the calibration text, and which one pays.

Form s4 pays where the share of a token's bytes that it saves is at least the share that its codes add to
weights.bin: a tenth less to read is not worth a bundle a sixth larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgebit.calibration import Calibration
from edgebit.compiler import CompiledModel
from edgebit.compiler.head_bounds import BOUNDS, ROW_COEFFICIENTS
from edgebit.compiler.head_s4 import RowCoder, row_bytes
from edgebit.compiler.head_survivors import SurvivorCount, Survivors
from edgebit.compiler.memory import align
from edgebit.compiler.plan import Plan
from edgebit.compiler.summary import streamed_bytes
from edgebit.compiler.weights import ROWS, Array, bfloat16_rows

_SAMPLED_ROWS = 4096  # of larger tables so many are coded to see what s4 would leave
_BLOCK = 128  # rows that are side by side
_FEW_SURVIVORS = 32  # native/head_screen.c computes them without screening them again


@dataclass(frozen=True)
class Screening:
    """A form's counts, and the mean bytes that finding a token greedily reads."""

    form: str
    survivors: Survivors
    token_bytes: float

    @property
    def facts(self) -> Mapping[str, int | float]:
        """For manifest.json."""
        return {
            "counted_states": self.survivors.states,
            f"{self.form}_survivors": round(self.survivors.greedy, 1),
            f"{self.form}_survivors_top_40": round(self.survivors.top_k, 1),
            f"{self.form}_token_bytes": round(self.token_bytes),
        }


def of_planes(plan: Plan, planes: Survivors) -> Screening:
    """Of form exact."""
    size = _Sizes(plan)
    return Screening("exact", planes, size.rows * size.plane1 + (1 + planes.greedy) * size.both_planes)


def of_codes(plan: Plan, codes: Survivors, planes: Survivors) -> Screening:
    """Of form s4: what its codes leave is screened as in form exact, if it is much."""
    size = _Sizes(plan)
    token_bytes = size.rows * size.codes + (1 + codes.greedy) * size.both_planes
    if codes.greedy > 1 + _FEW_SURVIVORS:
        refined = codes.greedy * size.plane1 + (2 + planes.greedy) * size.both_planes
        token_bytes = size.rows * size.codes + refined
    return Screening("s4", codes, token_bytes)


def s4_pays(compiled: CompiledModel, exact: Screening, s4: Screening) -> bool:
    """Whether codes are worth their size beside the planes of ``compiled``, a model in form exact."""
    plan, size = compiled.plan, _Sizes(compiled.plan)
    body = sum(streamed_bytes(step) for step in plan.decode)
    saved = (exact.token_bytes - s4.token_bytes) / (body + exact.token_bytes)
    return saved >= size.rows * size.codes / compiled.weights.size


def sampled_codes(calibration: Calibration, table: Callable[[], Array], planes: SurvivorCount) -> Survivors:
    """What codes of ``table`` would leave, from some of its rows and the thresholds of ``planes``."""
    data = table()
    firsts = range(0, len(data), _BLOCK * max(1, len(data) // _SAMPLED_ROWS))
    rows = np.concatenate([np.arange(first, min(first + _BLOCK, len(data))) for first in firsts])
    coder = RowCoder(data.shape[1], calibration.components)
    count = SurvivorCount(len(rows), calibration.states, calibration.components, rotated=True)
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(rows)))
        coded = coder.code(bfloat16_rows("lm_head", np.asarray(data[rows[block]]), int(rows[first])))
        count.add(block, coded.screened, coded.coefficients, coded.bounds)
    greedy, top_k = (
        count.above(planes.thresholds(table, k)) * len(data) / len(rows) for k in planes.leader_counts
    )
    return Survivors(len(calibration.states), greedy, top_k)


class _Sizes:
    """Bytes of a row as screening reads them: codes, the first plane, both planes."""

    def __init__(self, plan: Plan) -> None:
        width, bounds = plan.logits.plane_width, 4 * BOUNDS
        self.rows = align(plan.vocab_size, ROWS)
        self.codes = row_bytes(width) + bounds
        self.plane1 = ROW_COEFFICIENTS + width * 3 // 4 + bounds
        self.both_planes = ROW_COEFFICIENTS + width * 2
