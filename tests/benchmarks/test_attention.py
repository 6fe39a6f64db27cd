"""benchmarks/attention.py: every kernel is timed. (How fast it is, no test asserts.)"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from benchmarks.attention import Work, build, measure
from edgebit.schedules.tier import host_architecture, tiers_of


def test_every_kernel_gets_a_figure(tmp_path: Path) -> None:
    program = build(tiers_of(host_architecture())[-1], "int8", tmp_path)
    for threads in (1, 2):
        figure = measure(program, Work("int8", 144, 20, threads, layers=2), rounds=2)
        assert (figure.kv, figure.context, figure.tokens, figure.threads) == ("int8", 144, 20, threads)
        assert all(value > 0 for value in asdict(figure).values() if isinstance(value, float))


def test_work_counts_what_a_pass_reads_and_multiplies() -> None:
    work = Work("f16", 32, 2, threads=1, layers=1)
    assert work.read_bytes == 2 * 5 * 32 * 128 * 2
    assert work.decode_macs == 2 * 32 * 20 * 128
    assert work.prefill_macs == 2 * (31 + 32) * 20 * 128
