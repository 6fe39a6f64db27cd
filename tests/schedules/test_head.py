"""Kernels of the exact and of the int8 lm_head: the bits of the numpy reference on every tier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgebit.schedules.catalogue import kernel
from edgebit.schedules.head_avx512vnni import head_screen_avx512vnni
from edgebit.schedules.head_portable import head_screen_portable
from edgebit.schedules.tier import TIERS
from tests.head_reference import Plane, Query, Sections, screen
from tests.schedules import canonical
from tests.schedules.harness import TIER_NAMES, Call, Program, link, same_bits
from tests.schedules.ternary_cases import vpdpbusd_model

Array = npt.NDArray[Any]
Generator = np.random.Generator
f32 = np.float32

SCREENS = {6: "head_screen", 4: "head_screen_u4"}  # by bits of a code
KERNELS = (*SCREENS.values(), "head_rows", "lm_head", "lm_head_rows", "lm_head_int8", "embedding_int8")


MODELLED, PORTABLE = "avx512vnni-modelled", "portable"


@pytest.fixture(scope="module", params=[*TIER_NAMES, MODELLED, PORTABLE])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Each tier; on the baseline also AVX512-VNNI's screening with a model of its one instruction, and the
    screening of CPUs without vectors of their own.
    """
    tier = TIERS["sse2" if request.param in (MODELLED, PORTABLE) else request.param]

    def build() -> dict[str, Any]:
        kernels: dict[str, Any] = {name: kernel(name, tier) for name in KERNELS}
        if request.param == MODELLED:
            for bits, name in SCREENS.items():
                kernels[name] = head_screen_avx512vnni(tier, bits, dot_product=vpdpbusd_model)
        if request.param == PORTABLE:
            for bits, name in SCREENS.items():
                kernels[name] = head_screen_portable(tier, bits)
        return kernels

    return link(build, tier, tmp_path_factory.mktemp(f"head-{request.param}"))


def random_plane(rng: Generator, rows: int, groups: int, bits: int) -> Plane:
    blocks = -(-rows // 16)
    bounds = np.abs(rng.standard_normal((blocks, 5, 16))).astype(f32)
    bounds[:, 0] = np.exp2(rng.integers(-30, 10, (blocks, 16)))
    row_bytes = 128 + 32 * bits * groups
    return Plane(rng.integers(0, 256, (16 * blocks, row_bytes), dtype=np.uint8), bounds, bits)


def random_sections(rng: Generator, rows: int, groups: int) -> Sections:
    """Any bytes are planes: codes, coefficients, escapes and outliers without an embedding behind them."""
    width = 256 * groups
    first = random_plane(rng, rows, groups, 6)
    escapes = rng.integers(0, 6, rows)
    columns = [np.sort(rng.choice(width, n, replace=False)) for n in escapes]
    return Sections(
        plane1=first.rows,
        plane2=rng.integers(0, 256, (rows, 320 * groups), dtype=np.uint8),
        bounds=first.bounds,
        escape_index=np.concatenate([[0], np.cumsum(escapes)]).astype(np.uint32),
        escapes=np.stack([np.concatenate(columns), rng.integers(0, 1 << 16, escapes.sum())], axis=1).astype(
            np.uint16
        ),
        outliers=np.concatenate(
            [rng.choice(width, 16, replace=False), rng.integers(0, 1 << 16, 16 * rows)]
        ).astype(np.uint16),
        components=np.zeros((width, 64), f32),
        sigma=np.ones(64),
    )


def random_query(rng: Generator, groups: int) -> Query:
    state = rng.integers(-128, 128, (2, 256 * groups)).astype(np.int8)
    coefficients = rng.integers(-128, 128, (2, 64)).astype(np.int8)
    sums = (plane_sum(state), plane_sum(coefficients))
    numbers = [1e-4, sums[0], 3e-5, sums[1], *np.abs(rng.standard_normal(3)), 0.0]
    return Query(state, coefficients, np.array(numbers))


def plane_sum(planes: Array) -> float:
    return float((planes[0].astype(np.int64) * 256 + planes[1]).sum())


@dataclass(frozen=True)
class Screening:
    """A call of a screening kernel on all blocks, or on some of them from `first` on."""

    plane: Plane
    query: Query

    def buffers(self) -> dict[str, Array]:
        rows = len(self.plane.rows)
        return {
            "rows": self.plane.rows,
            "bounds": self.plane.bounds,
            "state": self.query.state,
            "coefficients": self.query.coefficients,
            "query": self.query.numbers,
            "estimates": np.full(rows, 99, f32),
            "uppers": np.full(rows, 99, f32),
            "maxima": np.full(rows // 8, 99, f32),
        }

    def call(self, first: int = 0, count: int | None = None) -> Call:
        row_bytes = self.plane.rows.shape[1]
        return Call(
            SCREENS[self.plane.bits],
            (
                ("rows", first * 16 * row_bytes),
                ("bounds", first * 320),
                *("state", "coefficients", "query"),
                ("estimates", first * 64),
                ("uppers", first * 64),
                ("maxima", first * 8),
            ),
            (len(self.plane.bounds) if count is None else count, self.query.state.shape[1] // 256),
        )

    def check(self, program: Program) -> None:
        after = program.run(self.buffers(), [self.call()])
        expected = screen(self.plane, self.query)
        same_bits(after["estimates"], expected.estimates)
        same_bits(after["uppers"], expected.uppers)
        same_bits(after["maxima"], expected.maxima)


@pytest.mark.parametrize("bits", SCREENS)
@pytest.mark.parametrize("groups", [1, 2, 3, 10])
def test_screening_any_width(program: Program, groups: int, bits: int) -> None:
    rng = np.random.default_rng(groups)
    Screening(random_plane(rng, 33, groups, bits), random_query(rng, groups)).check(program)


def with_infinite_norms(bounds: Array) -> Array:
    """S and sa are finite in any table; norms of huge rows are not."""
    changed = np.where(bounds > 1, f32(np.inf), bounds)
    changed[:, :2] = bounds[:, :2]
    return changed


EXTREMES: dict[str, Callable[[Plane, Query], tuple[Plane, Query]]] = {
    "all codes as large as can be, z = -32896": lambda s, q: (
        replace(s, rows=np.full_like(s.rows, 255)),
        replace(q, state=np.full_like(q.state, -128), coefficients=np.full_like(q.coefficients, -128)),
    ),
    "all codes as large as can be, z = 32639": lambda s, q: (
        replace(s, rows=np.full_like(s.rows, 255)),
        replace(q, state=np.full_like(q.state, 127), coefficients=np.full_like(q.coefficients, 127)),
    ),
    "rows of padding": lambda s, q: (
        replace(s, rows=np.zeros_like(s.rows), bounds=np.zeros_like(s.bounds)),
        q,
    ),
    "infinite bounds": lambda s, q: (replace(s, bounds=with_infinite_norms(s.bounds)), q),
    "bounds beyond 2^40": lambda s, q: (s, replace(q, numbers=q.numbers * 2.0**40)),
    "estimates that overflow": lambda s, q: (s, replace(q, numbers=q.numbers * 2.0**120)),
    "denormal estimates": lambda s, q: (
        s,
        replace(q, numbers=q.numbers * np.array([2.0**-136, 1, 2.0**-136, 1, *[2.0**-140] * 4])),
    ),
    "a zero residual": lambda s, q: (s, replace(q, numbers=q.numbers * [1, 1, 1, 1, 0, 0, 0, 0])),
}


@pytest.mark.parametrize("bits", SCREENS)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_screening_extremes(program: Program, extreme: str, bits: int) -> None:
    rng = np.random.default_rng(7)
    plane, query = EXTREMES[extreme](random_plane(rng, 32, 10, bits), random_query(rng, 10))
    sums = (plane_sum(query.state), plane_sum(query.coefficients))
    numbers = query.numbers.copy()
    numbers[[1, 3]] = sums
    Screening(plane, replace(query, numbers=numbers)).check(program)


@pytest.mark.parametrize("bits", SCREENS)
def test_screening_may_be_split_over_threads(program: Program, bits: int) -> None:
    rng = np.random.default_rng(8)
    screening = Screening(random_plane(rng, 80, 2, bits), random_query(rng, 2))
    whole = program.run(screening.buffers(), [screening.call()])
    split = program.run(
        screening.buffers(), [screening.call(2, 3), screening.call(0, 1), screening.call(1, 1)]
    )
    for name in ("estimates", "uppers", "maxima"):
        same_bits(split[name], whole[name])


def rows_buffers(sections: Sections, rows: Array, stride: int) -> dict[str, Array]:
    return {
        "rows": rows.astype(np.int32),
        "plane1": sections.plane1,
        "plane2": sections.plane2,
        "bounds": sections.bounds,
        "escape_index": sections.escape_index,
        "escapes": sections.escapes,
        "outliers": sections.outliers,
        "out": np.full((len(rows), stride), 99, f32),
    }


@pytest.mark.parametrize(("groups", "stride"), [(1, 64), (1, 256), (2, 320), (3, 768)])
def test_rows_of_planes(program: Program, groups: int, stride: int) -> None:
    """Columns beyond the stride, escapes and outliers among them, are left out."""
    sections = random_sections(np.random.default_rng(stride), 40, groups)
    rows = np.array([39, 0, 16, 16, 7])
    buffers = rows_buffers(sections, rows, stride)
    after = program.run(buffers, [Call("head_rows", tuple(buffers), (len(rows), groups, stride))])
    expected = np.stack([sections.row(v)[:stride] for v in rows])
    same_bits(after["out"].view(np.uint32), expected)


def test_rows_whose_second_plane_was_gathered(program: Program) -> None:
    sections = random_sections(np.random.default_rng(5), 40, 2)
    rows = np.array([39, 0, 16, 16, 7])
    buffers = rows_buffers(sections, rows, 512) | {"plane2": np.ascontiguousarray(sections.plane2[rows])}
    after = program.run(buffers, [Call("head_rows", tuple(buffers), (len(rows), 2, 512, 1))])
    same_bits(after["out"].view(np.uint32), np.stack([sections.row(v) for v in rows]))


def test_rows_with_the_smallest_and_largest_steps(program: Program) -> None:
    sections = random_sections(np.random.default_rng(9), 32, 1)
    sections.bounds[0, 0], sections.bounds[1, 0] = f32(2.0**-120), f32(2.0**121)
    buffers = rows_buffers(sections, np.arange(32), 256)
    after = program.run(buffers, [Call("head_rows", tuple(buffers), (32, 1, 256))])
    same_bits(after["out"].view(np.uint32), np.stack([sections.row(v) for v in range(32)]))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_logits_of_widened_rows_are_those_of_the_table(program: Program, count: int) -> None:
    rng = np.random.default_rng(count)
    for width in (64, 320, 2560):
        x = (rng.standard_normal((count, width)) * np.exp2(rng.integers(-20, 21, (count, width)))).astype(f32)
        table = (x.view(np.uint32) >> 16).astype(np.uint16)
        h = canonical.round_significant(rng.standard_normal(width).astype(f32), 16)
        buffers: dict[str, Array] = {
            "table": table,
            "rows": canonical.bf16_to_f32(table),
            "h": h,
            "logits": np.full(count, 99, f32),
            "again": np.full(count, 98, f32),
        }
        scalars = (count, width // 64)
        after = program.run(
            buffers,
            [
                Call("lm_head", ("table", "h", "logits"), scalars),
                Call("lm_head_rows", ("rows", "h", "again"), scalars),
            ],
        )
        same_bits(after["again"], after["logits"])
        same_bits(after["again"], canonical.lm_head(table, h))


def int8_table(rng: Generator, rows: int, width: int) -> tuple[Array, Array]:
    table = rng.integers(1, 256, (rows, width)).astype(np.uint8)
    table[0] = 255
    return table, np.abs(rng.standard_normal(rows)).astype(f32)


@pytest.mark.parametrize("count", [1, 3, 4, 18])
def test_int8_logits(program: Program, count: int) -> None:
    rng = np.random.default_rng(count)
    for width in (64, 320, 2560):
        table, scale = int8_table(rng, count, width)
        for q in (
            rng.integers(-127, 128, width).astype(np.int8),
            np.full(width, 127, np.int8),
            np.full(width, -127, np.int8),
        ):
            buffers: dict[str, Array] = {
                "table": table,
                "scale": scale,
                "q": q,
                "sum": q.sum(dtype=np.int32).reshape(1),
                "s": np.array([3.7], f32),
                "logits": np.full(count, 99, f32),
            }
            after = program.run(buffers, [Call("lm_head_int8", tuple(buffers), (count, width // 64))])
            acc = (table.astype(np.int32) - 128) @ q.astype(np.int32)
            same_bits(after["logits"], acc.astype(f32) * (scale / f32(3.7)))


def test_int8_rows_of_tokens(program: Program) -> None:
    table, scale = int8_table(np.random.default_rng(10), 9, 192)
    tokens = np.array([8, 0, 3, 3], np.int32)
    buffers: dict[str, Array] = {
        "tokens": tokens,
        "table": table,
        "scale": scale,
        "out": np.full((4, 192), 99, f32),
    }
    after = program.run(buffers, [Call("embedding_int8", tuple(buffers), (4, 3))])
    same_bits(after["out"], (table[tokens].astype(f32) - f32(128)) * scale[tokens, None])
