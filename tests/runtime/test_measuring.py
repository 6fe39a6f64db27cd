"""What the library tells of its own speed: the time of every step, and of reading memory with its threads."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from pathlib import Path

import pytest

from edgebit.runtime.library import StepTime
from tests.runtime.builders import CHUNK, Toy, toy_library, toy_weights

ARGUMENT, PROCESS = -1, -5
DECODE, PREFILL, HEAD = 0, 1, 2


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "weights.bin").write_bytes(toy_weights())
    return tmp_path


def times(toy: Toy, phase: int) -> list[StepTime]:
    count = toy.library.eb_profile_times(toy.session, phase, None, 0)
    found = (StepTime * count)()
    assert toy.library.eb_profile_times(toy.session, phase, found, count) == count
    return list(found)


def calls(toy: Toy, phase: int) -> list[int]:
    """How often each step of the plan ran; the head has the logits behind its one step."""
    found = [step.calls for step in times(toy, phase)]
    steps = 2 if phase == HEAD else 3
    assert not any(found[steps:])
    return found[:steps]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_step_of_every_phase_is_counted_and_timed(bundle: Path, threads: int) -> None:
    toy = Toy(bundle, threads)
    toy.library.eb_profile(toy.session, 1)
    start = time.perf_counter_ns()
    toy.evaluate([1] * (2 * CHUNK + 1))  # three chunks of about the same size
    toy.evaluate([2])
    toy.logits()
    whole = time.perf_counter_ns() - start
    assert calls(toy, PREFILL) == [3, 3, 3]
    assert calls(toy, DECODE) == [1, 1, 1]
    assert calls(toy, HEAD) == [2, 1]
    phases = [time for phase in (DECODE, PREFILL, HEAD) for time in times(toy, phase)]
    assert 0 < sum(time.nanoseconds for time in phases) <= whole
    assert all(bool(time.nanoseconds) == bool(time.calls) for time in phases)


def test_a_profile_begins_at_zero_and_keeps_its_times_when_it_stops(bundle: Path) -> None:
    toy = Toy(bundle)
    assert calls(toy, DECODE) == [0, 0, 0]
    toy.library.eb_profile(toy.session, 1)
    toy.evaluate([1])
    toy.library.eb_profile(toy.session, 0)
    toy.evaluate([2])
    assert calls(toy, DECODE) == [1, 1, 1]
    toy.library.eb_profile(toy.session, 1)
    assert calls(toy, DECODE) == [0, 0, 0]


def test_the_time_between_passes_belongs_to_no_step(bundle: Path) -> None:
    toy = Toy(bundle)
    toy.library.eb_profile(toy.session, 1)
    toy.evaluate([1])
    before = sum(step.nanoseconds for step in times(toy, DECODE))
    time.sleep(0.3)
    start = time.perf_counter_ns()
    toy.evaluate([2])
    whole = time.perf_counter_ns() - start
    assert sum(step.nanoseconds for step in times(toy, DECODE)) - before <= whole


def test_an_unknown_phase_is_refused(bundle: Path) -> None:
    toy = Toy(bundle)
    for phase in (-1, 4):
        assert toy.library.eb_profile_times(toy.session, phase, None, 0) == ARGUMENT
    assert toy.library.eb_profile_times(toy.session, DECODE, None, 1) == ARGUMENT


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("pages", [1, 3, 257])
def test_all_of_the_memory_is_read(threads: int, pages: int) -> None:
    """A hole in a shared file gets a page when it is read: the file then takes room."""
    size = pages * mmap.PAGESIZE
    file = os.memfd_create("holes")
    os.ftruncate(file, size)
    with mmap.mmap(file, size) as memory:
        place = ctypes.c_char.from_buffer(memory)
        assert os.fstat(file).st_blocks == 0
        assert toy_library().eb_probe_reading(ctypes.addressof(place), size, threads) > 0
        assert os.fstat(file).st_blocks * 512 == size
        del place
    os.close(file)


def test_the_weights_are_read_as_far_as_they_go(bundle: Path) -> None:
    toy, size = Toy(bundle), len(toy_weights())
    read = toy.library.eb_read_weights
    assert read(toy.session, 0, size, 3) > 0
    assert read(toy.session, size - 1, 1, 1) > 0
    for offset, count, rounds in [(0, size + 1, 1), (1, size, 1), (size, 1, 1), (2**64 - 1, 2, 1)]:
        assert read(toy.session, offset, count, rounds) == ARGUMENT
        assert f"{count} bytes to read" in toy.sentence()
    assert read(toy.session, 0, 0, 1) == ARGUMENT
    assert read(toy.session, 0, 1, 0) == ARGUMENT


def test_new_memory_is_read_and_given_back(bundle: Path) -> None:
    toy = Toy(bundle, 3)
    for size in (1, 64, 1 << 20):
        assert toy.library.eb_read_memory(toy.session, size, 2) > 0
    assert toy.library.eb_read_memory(toy.session, 0, 1) == ARGUMENT
    assert toy.library.eb_read_memory(toy.session, 1 << 62, 1) == ARGUMENT
    assert "no memory" in toy.sentence()


def test_reading_in_a_forked_process_is_refused(bundle: Path) -> None:
    toy = Toy(bundle)
    child = os.fork()
    if child == 0:
        os._exit(0 if toy.library.eb_read_weights(toy.session, 0, 64, 1) == PROCESS else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
