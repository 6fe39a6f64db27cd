"""Counted instructions and what is made of them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from benchmarks.arm.boards import A72, A76, BOARDS, Board, Processor, Work, predict
from benchmarks.arm.cycles import Core, instructions, simd_instructions
from benchmarks.arm.emulate import BOUNDARY, Emulator, Interval, read_report
from benchmarks.arm.measure import Bundle, TokenWork, compile_for_arm
from benchmarks.arm.report import predictions, tables
from edgebit.runtime.engine import DECODE

ADD = struct.pack("<I", 0x8B020020)  # add x0, x1, x2
FADD_CHAIN = struct.pack("<I", 0x4E21D400)  # fadd v0.4s, v0.4s, v1.4s: waits for itself
FADD_FREE = struct.pack("<I", 0x4E22D420)  # fadd v0.4s, v1.4s, v2.4s
BRANCH = struct.pack("<I", 0x54FFFFE1)  # b.ne .-4


def test_report_gives_blocks_between_marks(tmp_path: Path) -> None:
    report = tmp_path / "counts"
    report.write_text("0 3\nmark\n0 1\n1 7\n2 2\nmark\nmark\nblock 0 8b020020\nblock 1 4e21d40054ffffe1\n")
    with report.open("a") as file:
        file.write("block 2 8b020020\n")  # the same code translated a second time
    first, second, third = read_report(report)
    assert first == {ADD: 3}
    assert second == {ADD: 3, FADD_CHAIN + BRANCH: 7}
    assert third == {}
    assert instructions(second) == 3 + 2 * 7
    assert simd_instructions(second) == 7


def work(cycles: float, size: float) -> Work:
    return Work("kernel", "place", 1, 100, 50, cycles, size)


def test_prediction_adds_or_overlaps_computing_and_reading() -> None:
    board = Board("board", A76, clock=1e9, cores=4, bandwidth=(1e9, 2e9))
    parts = [work(cycles=4e6, size=2e6), work(cycles=0.4e6, size=6e6)]  # 4 ms and 0.4 ms; 2 MB and 6 MB
    one = predict(board, "model", "decode", parts, threads=1)
    assert 1 / one.low == pytest.approx(4.4e-3 + 8e-3)
    assert 1 / one.high == pytest.approx(4e-3 + 3e-3)
    four = predict(board, "model", "decode", parts, threads=4)
    assert 1 / four.high == pytest.approx(1e-3 + 3e-3)


def test_vocabulary_is_a_line_and_nothing_shrinks() -> None:
    small, large = work(cycles=10, size=100), work(cycles=30, size=90)
    whole = large.extrapolated(small, reach=14)
    assert whole.cycles == 30 + 14 * 20
    assert whole.weight_bytes == 90
    assert whole.calls == 1


def test_tables_show_what_matters_and_their_total() -> None:
    tiny = Work("tiny", "place", 2, 0.1, 0.1, 0.1, 0)
    token = TokenWork(decode=[work(1e6, 1e6), tiny], prefill=[work(2e6, 1e3)])
    measured = {"model": {"dotprod": token, "neon": token}}
    prediction, decode, *_ = tables(measured)
    assert len(prediction.rows) == 1 + 2 * len(BOARDS)
    assert [row[0] for row in decode.rows] == ["kernel", "kernel", "1 more", "total"]
    assert decode.rows[-1][2:4] == ["3", "100"]
    assert len(list(predictions(measured))) == 4 * len(BOARDS)
    assert all(0 < one.low <= one.high for one in predictions(measured))


@pytest.mark.skipif(shutil.which("llvm-mca-19") is None, reason="no llvm-mca-19 (package llvm-19)")
def test_cycles_follow_dependencies_and_cover_everything() -> None:
    chain, free = FADD_CHAIN * 8 + BRANCH, FADD_FREE * 8 + BRANCH
    core = Core(A72.mcpu)
    core.learn([{chain: 1000}, {free: 1000, ADD: 1}])
    assert core.cycles({chain: 1}) > 3 * core.cycles({free: 1})
    assert core.cycles({free: 2000}) == pytest.approx(2000 * core.cycles({free: 1}))
    per_instruction = core.cycles({free: 1}) / 9
    assert core.cycles({free: 1, ADD: 9}) == pytest.approx(
        18 * per_instruction
    )  # ADD was too rare to simulate
    assert core.cycles({}) == 0


@pytest.fixture(scope="module")
def emulator(arm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    assert arm_python.exists()
    return Emulator(tmp_path_factory.mktemp("emulator"))


@pytest.fixture(scope="module")
def builtin(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return compile_for_arm(None, tmp_path_factory.mktemp("arm") / "builtin")


# Instructions for 16 multiplications in the ternary steps of a decoded token, all of the kernel included.
@pytest.mark.arm
@pytest.mark.slow
@pytest.mark.parametrize(("processor", "budget"), [(A76, 2.9), (A72, 4.9)], ids=lambda value: str(value)[:20])
def test_decoding_keeps_its_instruction_budget(
    emulator: Emulator, builtin: Bundle, processor: Processor, budget: float
) -> None:
    first, second = (
        emulator.run(builtin.folder, processor.tier, processor.emulated, 12, 2) for _ in range(2)
    )
    assert [one.instructions for one in first] == [one.instructions for one in second]
    steps = decoded(first)
    assert len(steps) == len(builtin.plan.decode)
    products = [
        (one.instructions, step.ternary_weights)
        for one, step in zip(steps, builtin.plan.decode, strict=True)
        if step.ternary_weights
    ]
    assert products
    executed, multiplied = map(sum, zip(*products, strict=True))
    assert 2 < executed / (multiplied / 16) < budget


def decoded(run: list[Interval]) -> list[Interval]:
    """The decode steps of the last token."""
    ends = [i for i, one in enumerate(run) if one.phase == BOUNDARY]
    return [one for one in run[ends[-2] : ends[-1]] if one.phase == DECODE]
