"""The doctor finds all that is wrong with a bundle on this machine, and says so in one line at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgebit.compiler.target import host_target
from edgebit.runtime import doctor_checks, doctor_runs, integrity
from edgebit.runtime.bench_conditions import available_cpus, cpu_model
from edgebit.runtime.doctor import Report, examine
from edgebit.runtime.doctor_process import in_child
from edgebit.runtime.errors import RuntimeModelError
from edgebit.runtime.library_file import read_library
from edgebit.runtime.table import threads_text
from tests.runtime.test_hosts import interpreters
from tests.runtime.test_integrity import rewrite


def doctor(
    bundle: Path, *arguments: str, python: str | Path = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-S", "-s", "-E", str(bundle / "doctor.py"), *arguments],
        cwd="/",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def states(report: Report) -> dict[str, str]:
    return {finding.subject: finding.state for finding in report.findings}


# ---- a whole bundle ----------------------------------------------------------------------------------


def test_every_python_here_finds_a_whole_bundle_right(toy_bundle: Path) -> None:
    for python in interpreters().values():
        result = doctor(toy_bundle, python=python)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.splitlines()[-1].startswith("right: the model computes here, bit for bit")


def test_every_tier_is_tested_and_the_chosen_one_with_one_thread_and_with_all(toy_bundle: Path) -> None:
    report = examine(toy_bundle)
    able = list(dict.fromkeys(run.tier for run in report.runs))
    assert able[-1] == "baseline"
    chosen = {run.threads for run in report.runs if run.tier == able[0]}
    assert chosen == {1, available_cpus()}
    others = [run.threads for run in report.runs if run.tier != able[0]]
    assert others == [available_cpus()] * (len(able) - 1)
    assert [run.fault for run in report.runs] == [""] * len(report.runs)
    assert set(states(report).values()) == {"right"}


def test_a_read_only_bundle_is_examined_and_not_written_to(bundle_copy: Path) -> None:
    before = sorted(bundle_copy.rglob("*"))
    for path in [*before, bundle_copy]:
        path.chmod(0o555)
    result = doctor(bundle_copy)
    for path in [bundle_copy, *before]:
        path.chmod(0o755)
    assert result.returncode == 0
    assert sorted(bundle_copy.rglob("*")) == before


def test_json_says_the_same(toy_bundle: Path) -> None:
    result = doctor(toy_bundle, "--json", "--tier", "baseline")
    report = json.loads(result.stdout)
    assert (result.returncode, report["right"]) == (0, True)
    assert report["verdict"].endswith("(baseline)")
    assert {run["tier"] for run in report["self_test"]} == {"baseline"}
    assert report["cpu"] == cpu_model()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no way to bind this process to a CPU")
def test_one_cpu_is_enough(toy_bundle: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        report = examine(toy_bundle)
    finally:
        os.sched_setaffinity(0, before)
    assert not report.faults
    assert {run.threads for run in report.runs} == {1}


def test_the_threads_that_are_asked_for_are_tested_alone(toy_bundle: Path) -> None:
    result = doctor(toy_bundle, "--threads", "3", "--json")
    assert {run["threads"] for run in json.loads(result.stdout)["self_test"]} == {3}
    refused = doctor(toy_bundle, "--threads", "0")
    assert refused.returncode != 0 and "--threads 0: one is the least" in refused.stderr


# ---- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.bin", "libmodel.so", "tokenizer.bin"])
def test_a_changed_byte_is_found_and_the_self_test_not_run(bundle_copy: Path, name: str) -> None:
    damage(bundle_copy / name)
    result = doctor(bundle_copy)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith(f"wrong: {bundle_copy / name} is damaged: sha256 ")
    assert "self-test" not in result.stdout


def test_who_waits_sees_how_far_it_is(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(doctor_checks, "PROGRESS_STEP", 1)
    for module in (doctor_checks, doctor_runs):
        monkeypatch.setattr(module, "show_progress", shown.append)
    examine(toy_bundle, ["baseline"])
    assert [text for text in shown if text.startswith("reading files")][-1] == "reading files … 100%"
    assert f"self-test: baseline, {threads_text(available_cpus())}, prompt 2 of 3" in shown


def test_all_that_is_wrong_with_the_files_is_told(bundle_copy: Path) -> None:
    damage(bundle_copy / "weights.bin")
    (bundle_copy / "tokenizer.bin").unlink()
    (bundle_copy / "LICENSE").write_text("short")
    result = doctor(bundle_copy)
    for sentence in ("LICENSE is damaged: 5 bytes", "tokenizer.bin is missing", "weights.bin is damaged"):
        assert sentence in result.stdout
    assert result.stdout.splitlines()[-1].endswith("(and 2 more, see above)")


def test_a_changed_program_is_found_and_the_self_test_run_all_the_same(bundle_copy: Path) -> None:
    (bundle_copy / "chat.py").write_text("print('mine')\n")
    report = examine(bundle_copy)
    assert len(report.faults) == 1 and "chat.py is damaged" in report.faults[0]
    assert report.runs and not any(run.fault for run in report.runs)


def test_a_missing_file_of_the_loader_is_named(bundle_copy: Path) -> None:
    (bundle_copy / "edgebit_runtime" / "engine.py").unlink()
    result = doctor(bundle_copy)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("wrong: a file of edgebit_runtime/ is missing or damaged: ")
    assert "engine" in result.stdout


@pytest.mark.parametrize("text", ["", "{}", '{"edgebit": "9", "format": 2}'])
def test_a_damaged_manifest_is_named_and_the_machine_looked_at_all_the_same(
    bundle_copy: Path, text: str
) -> None:
    (bundle_copy / "manifest.json").write_text(text)
    report = examine(bundle_copy)
    assert report.verdict.startswith("wrong: ") and "manifest.json" in report.verdict
    assert states(report)["pages"] == "right"


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert examine(tmp_path / "nowhere").verdict.startswith(
        f"wrong: {tmp_path}/nowhere/manifest.json is missing"
    )


# ---- the self-test -----------------------------------------------------------------------------------


def change_answer(table: dict[str, Any]) -> None:
    table["self_test"][0]["answer"][2] += 1


def change_prompt(table: dict[str, Any]) -> None:
    table["self_test"][0]["tokens"].append(3)


def change_logits(table: dict[str, Any]) -> None:
    table["self_test"][0]["logits_sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_answer, r"prompt 'Hello, world': token 2 of the answer is "),
        (change_prompt, r"prompt 'Hello, world': token 13 of the prompt is missing, expected 3"),
        (change_logits, r"prompt 'Hello, world': sha256 of the logits is "),
    ],
)
def test_another_answer_is_a_fault_with_what_a_report_needs(
    bundle_copy: Path, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    rewrite(bundle_copy, change)
    result = doctor(bundle_copy, "--tier", "baseline")
    assert result.returncode == 1
    verdict = result.stdout.splitlines()[-1]
    assert verdict.startswith(f"wrong: baseline, {available_cpus()} thread") and sentence in verdict
    assert "Please report this" in result.stdout and str(cpu_model()) in result.stdout
    run = json.loads(doctor(bundle_copy, "--json").stdout)["self_test"][0]
    assert run["difference"]["expected"] != run["difference"]["found"]


@pytest.mark.parametrize("samples", [[], None, [{"prompt": "x"}], [7]])
def test_a_bundle_without_self_test_is_not_called_right(bundle_copy: Path, samples: object) -> None:
    rewrite(bundle_copy, lambda table: table.update(self_test=samples))
    assert examine(bundle_copy).faults == ["manifest.json holds no self-test: compile the model again"]


# ---- the processor -----------------------------------------------------------------------------------


def test_a_forced_tier_is_told_and_the_others_are_tested_too(toy_bundle: Path) -> None:
    result = doctor(toy_bundle, EDGEBIT_TIER="baseline")
    assert result.returncode == 0
    assert "takes baseline as EDGEBIT_TIER says" in result.stdout
    first = next(line for line in result.stdout.splitlines() if line.startswith("baseline"))
    assert first.split()[1] == "1"


def test_a_forced_tier_that_is_not_there_is_wrong(toy_bundle: Path) -> None:
    result = doctor(toy_bundle, EDGEBIT_TIER="fast")
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1].startswith(
        "wrong: EDGEBIT_TIER=fast: this library has no such tier; it has: "
    )


def test_kernels_that_were_asked_for_and_are_not_there_are_wrong(toy_bundle: Path) -> None:
    assert (
        doctor(toy_bundle, "--tier", "fast")
        .stdout.splitlines()[-1]
        .startswith("wrong: fast: the bundle has ")
    )


def test_a_library_that_cannot_be_loaded_is_wrong_with_the_reason(bundle_copy: Path) -> None:
    library = bundle_copy / "libmodel.so"
    data = library.read_bytes()[:200]
    library.write_bytes(data)
    entry = {"size": len(data), "sha256": integrity.hashlib.sha256(data).hexdigest()}
    rewrite(bundle_copy, lambda table: table["files"].update({"libmodel.so": entry}))
    report = examine(bundle_copy)
    assert report.verdict.startswith(f"wrong: {library} cannot be loaded: ")
    assert states(report)["memory"] == "right"


def test_a_bundle_for_another_machine_is_not_loaded(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity.platform, "machine", lambda: "riscv128")
    report = examine(toy_bundle)
    assert "this machine is riscv128" in report.verdict
    assert report.runs == []


# ---- parts -------------------------------------------------------------------------------------------


def test_what_ends_a_process_is_told() -> None:
    with pytest.raises(RuntimeModelError, match="ended by SIGKILL"):
        in_child(lambda tell: os.kill(os.getpid(), signal.SIGKILL), print)
    with pytest.raises(RuntimeModelError, match="ended without a result"):
        in_child(lambda tell: os._exit(0), print)
    with pytest.raises(RuntimeModelError, match="internal error, please report it: ZeroDivisionError"):
        in_child(lambda tell: 1 // 0, print)


def test_a_process_tells_how_far_it_is() -> None:
    heard: list[int] = []

    def work(tell: Callable[[int], None]) -> str:
        for number in range(3):
            tell(number)
        return "done"

    assert in_child(work, heard.append) == "done"
    assert heard == [0, 1, 2]


def test_facts_of_a_library_are_those_of_its_target(toy_bundle: Path) -> None:
    facts = read_library(toy_bundle / "libmodel.so")
    assert facts.alignment == host_target().page_size
    assert facts.glibc is not None and facts.glibc <= (2, 17)


def test_a_32_bit_library_is_read(tmp_path: Path) -> None:
    header = (
        b"\x7fELF\x01\x01".ljust(28, b"\0") + struct.pack("<I", 52) + bytes(10) + struct.pack("<2H", 32, 3)
    )
    segments = [
        struct.pack("<8I", kind, 0, 0, 0, 0, 0, 0, align) for kind, align in ((1, 65536), (1, 16384), (6, 4))
    ]
    path = tmp_path / "libmodel.so"
    path.write_bytes(header.ljust(52, b"\0") + b"".join(segments))
    assert read_library(path).alignment == 16384
    assert read_library(path).glibc is None


@pytest.mark.parametrize(("pages", "state"), [(4096, "right"), (65536, "wrong")])
def test_pages_larger_than_the_library_allows_are_wrong(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch, pages: int, state: str
) -> None:
    monkeypatch.setattr(doctor_checks.os, "sysconf", lambda name: pages)
    found = {finding.subject: finding for finding in doctor_checks.check_system(toy_bundle, None)}
    assert found["pages"].state == state


@pytest.mark.parametrize(
    ("system", "wanted", "state", "text"),
    [
        (("glibc", "2.36"), "glibc", "right", "glibc 2.36, libmodel.so needs 2."),
        (("glibc", "2.36"), None, "right", "glibc 2.36, libmodel.so needs 2."),
        (("glibc", "2.0"), "glibc", "note", "too old"),
        (
            ("glibc", "2.36"),
            "musl",
            "note",
            "is for musl: if libmodel.so does not load, compile for a target",
        ),
        (("musl", ""), "glibc", "note", "musl, the bundle is for glibc"),
        (("bionic", "API 34"), "bionic", "right", "bionic API 34"),
        (("unknown", ""), "glibc", "note", "unknown, the bundle is for glibc"),
    ],
)
def test_another_libc_is_a_note(
    toy_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: tuple[str, str],
    wanted: str | None,
    state: str,
    text: str,
) -> None:
    monkeypatch.setattr(doctor_checks, "libc", lambda: system)
    manifest = {"target": {"libc": wanted}} if wanted else None
    found = {finding.subject: finding for finding in doctor_checks.check_system(toy_bundle, manifest)}
    assert found["libc"].state == state
    assert text in found["libc"].text


@pytest.mark.parametrize(
    ("free", "state"), [(10_000_000, "right"), (5_000_000, "note"), (1_000_000, "wrong"), (None, "right")]
)
def test_memory_is_wrong_where_activations_do_not_fit_and_a_note_where_weights_do_not(
    monkeypatch: pytest.MonkeyPatch, free: int | None, state: str
) -> None:
    monkeypatch.setattr(doctor_checks, "free_bytes", lambda: free)
    needs = {
        "weights": 3_000_000,
        "cache": 1_000_000,
        "activations": 1_000_000,
        "scratch_per_thread": 100_000,
    }
    assert doctor_checks.check_memory({"memory": needs}, 4).state == state


def test_two_doctors_do_not_disturb_each_other(toy_bundle: Path) -> None:
    command = [sys.executable, str(toy_bundle / "doctor.py")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/") for _ in range(2)]
    assert [process.communicate()[0].splitlines()[-1][:6] for process in both] == [b"right:"] * 2


def test_a_copy_elsewhere_is_as_right(toy_bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "a folder with blanks – ü"
    shutil.copytree(toy_bundle, place)
    assert doctor(place).returncode == 0
