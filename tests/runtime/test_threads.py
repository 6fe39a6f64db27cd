"""The thread team: every unit once, no step before the last one is done, and progress on crowded cores."""

from __future__ import annotations

import ctypes
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.runtime.builders import toy_library

DENORMALS_ARE_ZERO = 0x9FC0  # what a host compiled with -ffast-math leaves in MXCSR


def partition(units: int, grain: int, threads: int) -> list[tuple[int, int]]:
    out, parts = (ctypes.c_uint32 * 2)(), []
    for thread in range(threads):
        toy_library().eb_probe_partition(units, grain, thread, threads, out)
        parts.append((out[0], out[1]))
    return parts


@pytest.mark.parametrize("threads", range(1, 9))
def test_every_unit_is_done_exactly_once(threads: int) -> None:
    for units in [*range(41), 63, 64, 65, 255, 432, 8016, 128256]:
        for grain in (1, 2, 3, 4, 7, 8, 16, 64, 1000):
            parts = partition(units, grain, threads)
            assert parts[0][0] == 0
            assert parts[-1][1] == units
            assert all(begin <= end for begin, end in parts)
            assert all(a[1] == b[0] for a, b in pairwise(parts))
            assert all(end % grain == 0 or end == units for _, end in parts)


def test_parts_differ_by_at_most_one_grain() -> None:
    for units, grain, threads in [(432, 1, 8), (160, 4, 7), (27, 3, 5), (4008, 8, 6)]:
        sizes = [-(-(end - begin) // grain) for begin, end in partition(units, grain, threads)]
        assert max(sizes) - min(sizes) <= 1


def test_the_largest_counts_do_not_overflow() -> None:
    parts = partition(2**31 - 1, 16, 256)
    assert (parts[0][0], parts[-1][1]) == (0, 2**31 - 1)
    assert all(a[1] == b[0] for a, b in pairwise(parts))


@pytest.mark.parametrize(("threads", "steps"), [(1, 10_000), (2, 10_000), (3, 3_000), (5, 3_000)])
def test_no_thread_sees_a_step_half_done(threads: int, steps: int) -> None:
    assert toy_library().eb_probe_barriers(threads, steps, 1) == 0


def test_ten_thousand_steps_of_eight_threads_on_two_cores_take_seconds() -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cpus)[:2])
    try:
        start = time.monotonic()
        assert toy_library().eb_probe_barriers(8, 10_000, 1) == 0
        assert time.monotonic() - start < 15
    finally:
        os.sched_setaffinity(0, cpus)


def test_workers_wake_for_every_job_and_sleep_between() -> None:
    assert toy_library().eb_probe_barriers(4, 3, 2_000) == 0


def test_a_team_that_waits_costs_no_processor_time() -> None:
    library = toy_library()
    used = time.process_time()
    library.eb_probe_idle(4, 300)
    assert time.process_time() - used < 0.1


def test_threads_can_be_opened_and_closed_many_times() -> None:
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(200):
        assert toy_library().eb_probe_barriers(3, 2, 1) == 0
    deadline = time.monotonic() + 5  # a joined thread may still be listed for a moment
    while len(list(Path("/proc/self/task").iterdir())) > before:
        assert time.monotonic() < deadline


def test_signals_are_left_to_the_threads_of_the_host() -> None:
    assert toy_library().eb_probe_blocked_signals() & (1 << 1 | 1 << 14) == 1 << 1 | 1 << 14  # INT, TERM
    assert toy_library().eb_probe_blocked_signals() & 1 << 10 == 0  # SEGV


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the bits of MXCSR")
def test_every_thread_computes_in_the_canonical_mode_and_the_host_keeps_its_own() -> None:
    modes = (ctypes.c_uint64 * 6)()
    before = toy_library().eb_probe_float_mode()
    toy_library().eb_probe_float_modes(DENORMALS_ARE_ZERO, 4, modes)
    assert list(modes) == [0x1F80] * 4 + [DENORMALS_ARE_ZERO, 0x1F80]
    assert toy_library().eb_probe_float_mode() == before


def test_default_threads_follow_the_affinity_of_the_process() -> None:
    cpus = os.sched_getaffinity(0)
    assert 1 <= toy_library().eb_probe_default_threads() <= len(cpus)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        assert toy_library().eb_probe_default_threads() == 1
    finally:
        os.sched_setaffinity(0, cpus)
