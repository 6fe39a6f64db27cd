"""Does this bundle work on this machine? `python3 BUNDLE/doctor.py`, or `edgebit doctor BUNDLE`.

Looks at everything, whatever it finds first; then the model answers prompts whose answers were recorded when
the bundle was made. The last line is the verdict, the exit code 0 or 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from .bench_conditions import available_cpus, board_model, cpu_model
from .doctor_checks import (
    RIGHT,
    WRONG,
    FileFindings,
    Finding,
    check_architecture,
    check_files,
    check_memory,
    check_system,
    libc,
)
from .doctor_runs import FORCED, Choice, Run, Tier, find_choice, find_tiers, run, runs_of
from .engine import LIBRARY
from .errors import RuntimeModelError
from .integrity import this_machine
from .program import parser_of, run_program, show_progress
from .self_test import read_samples
from .table import Table, text_of, threads_text

NEEDED_TO_RUN = (LIBRARY, "weights.bin", "tokenizer.bin")


@dataclass(frozen=True)
class Report:
    """All that was found. `facts`: model, system and processor, for whom a fault is reported to."""

    findings: List[Finding]
    runs: List[Run]
    facts: Dict[str, Any]

    @property
    def faults(self) -> List[str]:
        """A line for each thing that is wrong."""
        findings = [finding.text for finding in self.findings if finding.state == WRONG]
        wrong_runs = [each for each in self.runs if each.fault]
        return findings + [f"{each.tier}, {threads_text(each.threads)}: {each.fault}" for each in wrong_runs]

    @property
    def verdict(self) -> str:
        """One line: "right: …" or "wrong: …"."""
        faults = self.faults
        if faults:
            others = f" (and {len(faults) - 1} more, see above)" if len(faults) > 1 else ""
            return f"wrong: {faults[0]}{others}"
        tiers = ", ".join(dict.fromkeys(each.tier for each in self.runs))
        return f"right: the model computes here, bit for bit, what it did when it was compiled ({tiers})"

    def as_json(self) -> Dict[str, Any]:
        return {
            "right": not self.faults,
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "self_test": [asdict(each) for each in self.runs],
            **self.facts,
        }

    def tables(self) -> List[Table]:
        findings = [(finding.subject, finding.state, finding.text) for finding in self.findings]
        tables = [Table("", ("", "", ""), findings, left=(0, 1, 2))]
        if self.runs:
            rows = [
                (each.tier, str(each.threads), f"{each.seconds:.1f}", each.fault or RIGHT)
                for each in self.runs
            ]
            tables.append(Table("", ("self-test", "threads", "seconds", ""), rows, left=(0, 3)))
        if any(each.difference for each in self.runs):
            facts = [(name, json.dumps(value, ensure_ascii=False)) for name, value in self.facts.items()]
            tables.append(Table("Please report this to edgebit, with:", ("", ""), facts, left=(0, 1)))
        return tables


def examine(folder: Path, asked: Sequence[str] = (), asked_threads: Optional[int] = None) -> Report:
    """Look at a bundle and this machine, and run the self-test on `asked` tiers (none: all the CPU has) with
    `asked_threads` (None: one and all).
    """
    files = check_files(folder)
    findings = [*files.findings, *check_system(folder, files.manifest)]
    runs: List[Run] = []
    if files.manifest is not None:
        findings.append(check_architecture(folder, files.manifest))
        kernels = _Kernels([], [], None)
        if findings[-1].state == RIGHT and LIBRARY not in files.damaged:
            kernels = _look_at_kernels(folder, files, asked)
        findings += kernels.findings
        threads = kernels.choice.threads if kernels.choice else available_cpus()
        findings.append(check_memory(files.manifest, threads))
        if kernels.able and _is_runnable(files):
            runs = _run_all(folder, files.manifest, kernels, asked_threads, findings)
    show_progress("")
    return Report(findings, runs, _facts(files.manifest or {}))


# ---- kernels and self-test -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Kernels:
    findings: List[Finding]
    able: List[str]  # tiers to test
    choice: Optional[Choice]


def _is_runnable(files: FileFindings) -> bool:
    return not any(name in files.damaged for name in NEEDED_TO_RUN)


def _look_at_kernels(folder: Path, files: FileFindings, asked: Sequence[str]) -> _Kernels:
    assert files.manifest is not None
    try:
        tiers = find_tiers(folder, files.manifest["target"]["tiers"])
    except RuntimeModelError as error:
        return _Kernels([Finding("library", WRONG, str(error))], [], None)
    able = [tier.name for tier in tiers if not tier.lacks]
    findings = [_unknown_tier(name, tiers) for name in asked if name not in able]
    choice = None
    if _is_runnable(files):
        try:
            choice = find_choice(folder)
        except RuntimeModelError as error:
            findings.append(Finding("model", WRONG, str(error)))
    findings.append(_processor(tiers, choice))
    return _Kernels(findings, [name for name in able if not asked or name in asked], choice)


def _unknown_tier(name: str, tiers: Sequence[Tier]) -> Finding:
    reasons = [tier.lacks for tier in tiers if tier.name == name]
    known = ", ".join(tier.name for tier in tiers)
    return Finding("tier", WRONG, f"{name}: {reasons[0] if reasons else f'the bundle has {known}'}")


def _processor(tiers: Sequence[Tier], choice: Optional[Choice]) -> Finding:
    """CPU, kernels and threads."""
    cpus = available_cpus()
    parts = [f"{cpu_model() or 'unknown'}, {cpus} CPU{'s' if cpus > 1 else ''} for this process"]
    if choice:
        forced = f" as {FORCED} says" if os.environ.get(FORCED) else ""
        parts.append(f"takes {choice.tier}{forced} with {threads_text(choice.threads)}")
    able = [tier.name for tier in tiers if not tier.lacks]
    parts.append(f"can run {', '.join(able) or 'no kernels of this bundle'}")
    parts += [f"not {tier.name}: {tier.lacks}" for tier in tiers if tier.lacks]
    return Finding("processor", RIGHT if able else WRONG, "; ".join(parts))


def _run_all(
    folder: Path,
    manifest: Dict[str, Any],
    kernels: _Kernels,
    asked_threads: Optional[int],
    findings: List[Finding],
) -> List[Run]:
    """The self-test on every tier; adds a finding where the bundle has none."""
    try:
        samples = read_samples(manifest)
    except RuntimeModelError as error:
        findings.append(Finding("self-test", WRONG, str(error)))
        return []
    chosen = runs_of(kernels.able, kernels.choice, asked_threads)
    return [run(folder, tier, threads, samples) for tier, threads in chosen]


def _facts(manifest: Dict[str, Any]) -> Dict[str, Any]:
    model, target = manifest.get("model", {}), manifest.get("target", {})
    return {
        "edgebit": manifest.get("edgebit"),
        "manifest_sha256": manifest.get("sha256"),
        "model": model.get("name"),
        "target": target.get("name"),
        "cpu": cpu_model(),
        "board": board_model(),
        "machine": this_machine(),
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(libc()).strip(),
        "python": platform.python_version(),
        "forced_tier": os.environ.get(FORCED),
    }


# ---- the program -------------------------------------------------------------------------------------


def parser(bundle: Optional[str] = None) -> argparse.ArgumentParser:
    options = parser_of("doctor", "Check a bundle on this machine.", bundle)
    options.add_argument(
        "--tier", action="append", default=[], help="test these kernels only; default: all the CPU can run"
    )
    options.add_argument("--threads", type=int, help="test with so many only; default: with one and with all")
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return options


def run_doctor(chosen: argparse.Namespace) -> int:
    if chosen.threads is not None and chosen.threads < 1:
        raise RuntimeModelError(f"--threads {chosen.threads}: one is the least")
    report = examine(Path(chosen.bundle), chosen.tier, chosen.threads)
    if chosen.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n\n".join([*map(text_of, report.tables()), report.verdict]))
    return 1 if report.faults else 0


def main(arguments: Optional[Sequence[str]] = None, bundle: Optional[str] = None) -> int:
    """The program, for the folder `bundle` or the one that its first argument names.

    arguments None: those of this process. Errors are one line on stderr and exit code 1.
    """
    return run_program(lambda: run_doctor(parser(bundle).parse_args(arguments)))
