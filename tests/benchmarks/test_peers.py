"""peers.py: correctness before speed, remarks beside speeds, and edgebit alone where nobody else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer import comparison as comparison_module
from benchmarks.peer.agreement import Agreement, agree, divergence
from benchmarks.peer.child import Answers, Child, Installed, PeerError, find, interpreters
from benchmarks.peer.comparison import MODEL, SILU, Check, Comparison, Row
from benchmarks.peer.registry import CONTENDERS, ENGINES, FAIR_PEER, OWN
from benchmarks.peer.report import agreement_table, markdown_table, place, report, speed_table
from benchmarks.peer.rounds import Speeds, Workload, run_rounds
from benchmarks.peer.session import Floats
from benchmarks.peer.worker import Timing, measure
from tests.builders import Shape, write_checkpoint

WORK = Workload(prompt=3, decode=4, prefill=16, rounds=2)
LLAMA = next(contender for contender in CONTENDERS if contender.name == FAIR_PEER)


def speeds(decode: float, prefill: float) -> Speeds:
    return Speeds([decode, decode - 1, decode + 1], [prefill] * 3, [0.25] * 3)


def compared(*rows: Row) -> Comparison:
    return Comparison("the whole model", rows, threads=[1, 2], workload=WORK)


def checked(*rows: Row, missing: Sequence[str] = ()) -> Check:
    absent = [ENGINES[name] for name in missing]
    return Check(rows, 2, "edgebit", absent, versions=[("llama-cpp-python", "0.3")])


def row(contender: object, agreement: Agreement, decode: float, prefill: float) -> Row:
    assert contender in CONTENDERS
    found = {1: speeds(decode, prefill), 2: speeds(2 * decode, 2 * prefill)}
    return Row(contender, agreement, found)  # type: ignore[arg-type]


OWN_ROW = row(OWN, Agreement(MODEL, 0.0, 0.0, 1.0), 30, 200)


def answers(logits: Floats) -> Answers:
    return Answers(logits, logits.argmax(-1), after_long=logits)


# ---- agreement -------------------------------------------------------------------------------------


def test_an_engine_is_held_against_the_nearest_reference() -> None:
    random = np.random.default_rng(0)
    relu2, silu = random.normal(size=(2, 5, 50)).astype(np.float32)
    found = agree({MODEL: answers(relu2), SILU: answers(silu)}, answers(silu + np.float32(1e-3)))
    assert found.reference == SILU
    assert found.holds and found.holds_after_long and found.top1 == 1 and found.divergence < 1e-6


def test_other_logits_do_not_hold() -> None:
    random = np.random.default_rng(0)
    logits, other = random.normal(size=(2, 5, 50)).astype(np.float32)
    found = agree({MODEL: answers(logits)}, answers(other))
    assert not found.holds and found.top1 < 1


def test_an_engine_may_be_right_in_short_prompts_alone() -> None:
    logits, other = np.random.default_rng(0).normal(size=(2, 5, 50)).astype(np.float32)
    found = agree({MODEL: answers(logits)}, Answers(logits, logits.argmax(-1), after_long=other))
    assert found.holds and not found.holds_after_long
    peer = row(LLAMA, found, 10, 900)
    assert "the model, **but not in long prompts**" in agreement_table(checked(OWN_ROW, peer))
    assert "**long prefill is wrong (KL" in speed_table(compared(OWN_ROW, peer))


def test_logits_that_are_no_numbers_are_infinitely_far_away() -> None:
    logits = np.zeros((2, 4), np.float32)
    assert divergence(logits, np.full_like(logits, np.nan)) == float("inf")


# ---- report ----------------------------------------------------------------------------------------


def test_speeds_are_medians_with_their_ratios() -> None:
    table = speed_table(compared(OWN_ROW, row(LLAMA, Agreement(SILU, 0.004, 0.003, 1.0), 15, 50)))
    line = next(line for line in table.splitlines() if line.startswith(f"| {FAIR_PEER}"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:7] == [
        "yes",
        "15.0 (16.0)",
        "30.0 (31.0)",
        "50.0 (50.0)",
        "100.0 (100.0)",
        "2.00 / 2.00; 4.00 / 4.00",
    ]
    assert cells[7].startswith("**computes the model with SiLU for relu²**")


def test_a_speed_of_other_logits_is_never_without_the_remark() -> None:
    table = speed_table(compared(OWN_ROW, row(LLAMA, Agreement(MODEL, 4.3, 4.1, 0.25), 90, 900)))
    assert "**other logits (KL 4.3e+00)**" in table
    found = agreement_table(checked(OWN_ROW, row(LLAMA, Agreement(MODEL, 4.3, 4.1, 0.25), 90, 900)))
    assert f"| {FAIR_PEER} | **something else** (nearest: the model) | 4.3e+00 | 4.1e+00 | 25% |" in found


def test_what_did_not_run_says_why_and_has_no_speed() -> None:
    failed = Row(LLAMA, failure="llama.cpp does not load this file")
    text = report("peers.py", checked(OWN_ROW, failed), [compared(OWN_ROW)], {"CPU": "one"}, plot=None)
    assert f"| {FAIR_PEER} | not run: llama.cpp does not load this file |" in text
    assert text.count(FAIR_PEER) == 1


def test_what_was_checked_but_not_timed_says_why() -> None:
    failed = Row(LLAMA, Agreement(SILU, 0.004, 0.003, 1.0), {1: speeds(9, 9)}, failure="out of memory")
    text = report("peers.py", checked(OWN_ROW), [compared(OWN_ROW, failed)], {"CPU": "one"}, plot=None)
    assert f"* {FAIR_PEER} was not timed: out of memory" in text
    assert f"| {FAIR_PEER} | yes |" not in text


def test_conditions_and_missing_engines_are_named() -> None:
    check = checked(OWN_ROW, missing=["litespark"])
    text = report("peers.py", check, [compared(OWN_ROW)], {"CPU": "one"}, plot="peers.png")
    assert "* CPU: one\n" in text
    assert "* CPUs kept busy by other processes during the timed runs: median 0.25, at most 0.25" in text
    assert "* Versions: llama-cpp-python 0.3" in text
    assert "(peers.png)" in text
    assert "* litespark is not installed: `pip install torch==2.13.0 litespark-inference`" in text


def test_cells_keep_their_bars() -> None:
    assert markdown_table([["a"], ["b|c"]]) == "| a |\n|---|\n| b\\|c |"


def test_results_of_others_stay_where_they_are() -> None:
    first = place("# Results\n\nmeasured by another program\n", "peers.py", "one\n")
    assert first.startswith("# Results\n\nmeasured by another program\n\n<!--")
    both = place(first, "peers.py --quick", "in a hurry\n")
    assert both.startswith(first) and both.count("<!--") == 4
    later = place(both, "peers.py", "two\n")
    assert later == both.replace("one", "two")
    assert place(later, "peers.py", "two\n") == later


# ---- rounds ----------------------------------------------------------------------------------------


class Clockwork:
    """A child whose tokens take a fixed time."""

    def __init__(self, name: str, calls: list[str], seconds: float) -> None:
        self.name, self.calls, self.seconds = name, calls, seconds

    def decode(self, prompt: Sequence[int], ids: Sequence[int]) -> Timing:
        self.calls.append(self.name)
        return Timing(self.seconds * len(ids), 0.0, self.seconds)

    def prefill(self, ids: Sequence[int]) -> Timing:
        return Timing(self.seconds * len(ids) / 10, 0.0, 0.0)


def test_rounds_are_interleaved_and_turn_round(tmp_path: Path) -> None:
    calls: list[str] = []
    said: list[str] = []
    children = [Clockwork("a", calls, 0.5), Clockwork("b", calls, 0.25)]
    slow, fast = run_rounds(children, WORK, 300, tmp_path / "lock", said.append)  # type: ignore[arg-type]
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert said[0] == "  a: decode 2.0, prefill 20.0 tokens/s"
    assert slow.decode == [2, 2] and fast.median_decode == 4
    assert slow.prefill == [20, 20] and fast.median_prefill == 40


def test_a_timing_counts_its_own_cpu() -> None:
    timing = measure(lambda: sum(range(2_000_000)) and None)
    assert 0 < timing.cpu_seconds <= timing.seconds * 1.5
    assert timing.other_cpu_seconds >= 0


# ---- engines ---------------------------------------------------------------------------------------


def test_an_engine_that_is_nowhere_is_not_found() -> None:
    nowhere = replace(ENGINES["litespark"], package="edgebit-has-no-such-peer")
    assert find(nowhere, interpreters([])) is None


def test_an_interpreter_that_is_none_is_refused() -> None:
    with pytest.raises(PeerError, match="--peer-python /no/python: is no program"):
        interpreters(["/no/python"])


def test_a_child_that_cannot_open_its_model_says_why(tmp_path: Path) -> None:
    installed = Installed(ENGINES["edgebit"], sys.executable, "0")
    with pytest.raises(PeerError, match=r"edgebit: exit status 1, .*libmodel\.so"):
        Child(OWN, installed, tmp_path, threads=1)


# ---- the program -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["benchmarks/peers.py"], ["-m", "benchmarks.peers"]])
def test_it_starts_as_a_file_and_as_a_module(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=peers.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--peer-python PATH" in done.stdout


@pytest.mark.slow
def test_without_any_peer_edgebit_is_measured_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "packed", "packed", Shape())
    alone = {
        name: engine if name == "edgebit" else replace(engine, package="edgebit-has-no-such-peer")
        for name, engine in ENGINES.items()
    }
    monkeypatch.setattr(comparison_module, "ENGINES", alone)
    monkeypatch.setattr(peers, "ENGINES", alone)
    monkeypatch.setattr(peers, "QUICK", WORK)
    results = tmp_path / "RESULTS.md"
    options = ["--quick", "--threads", "1", "--checkpoint", str(checkpoint), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", ["peers.py", *options, "--output", str(results)])
    peers.main()
    printed = capsys.readouterr().out
    assert printed.strip() in results.read_text()
    assert "| edgebit | the model | reference | reference | 100% |" in printed
    assert "* llama.cpp is not installed: `pip install --no-binary llama-cpp-python" in printed
    speed = next(line for line in printed.splitlines() if line.startswith("| edgebit | yes |"))
    decode, prefill = (float(cell.split()[0]) for cell in speed.split("|")[3:5])
    assert decode > 0 and prefill > 0
    assert (tmp_path / "peers_quick.png").read_bytes().startswith(b"\x89PNG")
