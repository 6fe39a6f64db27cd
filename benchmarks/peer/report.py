"""Comparisons as Markdown, and their place in RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.peer.agreement import TOLERANCE
from benchmarks.peer.comparison import CHECKED_TOKENS, MODEL, Check, Comparison, Row, threads_text
from benchmarks.peer.registry import FAIR_PEER, OWN
from benchmarks.peer.rounds import Speeds

HEADING = "# Results of benchmarks"


def report(
    program: str,
    check: Check,
    comparisons: Sequence[Comparison],
    conditions: Mapping[str, str],
    plot: str | None,
) -> str:
    """The whole section, Markdown; `program` is the command that measured it."""
    parts = [f"## Side by side with other engines: `{program}`", _conditions(check, comparisons, conditions)]
    parts += ["### Who computes the model", agreement_table(check)]
    for comparison in comparisons:
        parts += [f"### Speed: {comparison.title}", speed_table(comparison), _notes(comparison)]
    if plot:
        parts.append(f"![tokens per second, by engine and threads]({plot})")
    return "\n\n".join(part for part in parts if part) + "\n"


def agreement_table(check: Check) -> str:
    """What each engine computes; it stands before any speed."""
    text = (
        f"Logits of {CHECKED_TOKENS} tokens against those of {check.reference}, on the first {check.layers} "
        "layers (in many, random weights amplify every rounding). KL: mean divergence in nats of a prefill, "
        f"and of the same tokens after the long prefill that is timed; tolerance {TOLERANCE}. Same token: "
        "how often decoding token by token chooses the reference's."
    )
    table = [["Engine", "Computes", "KL", "KL after long prefill", "Same token"]]
    for row in check.rows:
        if row.agreement is None:
            table.append([row.contender.name, f"not run: {row.failure}", "", "", ""])
            continue
        name, found = row.contender.name, row.agreement
        distances = [f"{found.divergence:.1e}", f"{found.after_long:.1e}"]
        if name == check.reference:
            distances = ["reference", "reference"]
        table.append([name, _computes(row), *distances, f"{found.top1:.0%}"])
    missing = [f"* {engine.name} is not installed: `{engine.install}`" for engine in check.missing]
    return "\n\n".join([text, markdown_table(table), *(["\n".join(missing)] if missing else [])])


def speed_table(comparison: Comparison) -> str:
    """Medians of all rounds in tokens per second; the best round in brackets."""
    work = comparison.workload
    head = ["Engine", "Lossless"]
    for part in ("Decode", "Prefill"):
        head += [f"{part}, {threads_text(threads)}" for threads in comparison.threads]
    table = [[*head, "edgebit ÷ it (decode; prefill)", "Remark"]]
    own = next(row for row in comparison.rows if row.contender == OWN)
    for row in comparison.rows:
        if row.is_timed:
            table.append([*_speed_cells(row), _ratios(own, row), _remark(row)])
    text = (
        f"Tokens per second, medians of {work.rounds} interleaved rounds (best round in brackets): decoding "
        f"{work.decode} tokens after {work.prompt}, prefill of {work.prefill}."
    )
    return f"{text}\n\n{markdown_table(table)}"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head; bars inside a cell are escaped."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def place(text: str, program: str, section: str) -> str:
    """`text` of RESULTS.md with what stands between the marks of `program` replaced, or put at the end."""
    opening, closing = f"<!-- {program}: begin -->\n", f"<!-- {program}: end -->\n"
    marked = f"{opening}{section}{closing}"
    before, found, rest = text.partition(opening)
    if not found:
        return f"{text.rstrip() or HEADING}\n\n{marked}"
    return before + marked + rest.partition(closing)[2]


def write_results(file: Path, program: str, section: str) -> None:
    """Put the section into `file`; what others wrote there stays."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(place(text, program, section), encoding="utf-8")


# ---- parts -----------------------------------------------------------------------------------------


def _conditions(check: Check, comparisons: Iterable[Comparison], conditions: Mapping[str, str]) -> str:
    others = [
        others
        for comparison in comparisons
        for row in comparison.rows
        for speeds in row.speeds.values()
        for others in speeds.others
    ]
    facts = dict(conditions)
    if others:
        busy = f"median {median(others):.2f}, at most {max(others):.2f}"
        facts["CPUs kept busy by other processes during the timed runs"] = busy
    facts["Versions"] = ", ".join(f"{name} {version}" for name, version in check.versions)
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def _computes(row: Row) -> str:
    assert row.agreement
    if not row.agreement.holds:
        return f"**something else** (nearest: {row.agreement.reference})"
    if not row.agreement.holds_after_long:
        return f"{row.agreement.reference}, **but not in long prompts**"
    return row.agreement.reference if row.agreement.reference == MODEL else f"**{row.agreement.reference}**"


def _remark(row: Row) -> str:
    """A speed never stands without what its engine does differently."""
    different = f"**{row.difference}**" if row.difference else ""
    return "; ".join(part for part in (different, row.contender.remark) if part)


def _speed_cells(row: Row) -> list[str]:
    decode = [_median_and_best(speeds.decode) for speeds in row.speeds.values()]
    prefill = [_median_and_best(speeds.prefill) for speeds in row.speeds.values()]
    return [row.contender.name, "yes" if row.contender.lossless else "no", *decode, *prefill]


def _median_and_best(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({max(values):.1f})"


def _ratios(own: Row, row: Row) -> str:
    if row.contender == own.contender:
        return ""
    pairs: list[tuple[Speeds, Speeds]] = [
        (own.speeds[threads], found) for threads, found in row.speeds.items()
    ]
    decode = " / ".join(f"{mine.median_decode / theirs.median_decode:.2f}" for mine, theirs in pairs)
    prefill = " / ".join(f"{mine.median_prefill / theirs.median_prefill:.2f}" for mine, theirs in pairs)
    return f"{decode}; {prefill}"


def _notes(comparison: Comparison) -> str:
    notes = [f"{row.contender.name} was not timed: {row.failure}" for row in comparison.rows if row.failure]
    if any(row.contender.name == FAIR_PEER and row.is_timed for row in comparison.rows):
        notes.append(f"The fair peer of lossless edgebit is {FAIR_PEER}: nothing is quantised in its head.")
    return "\n".join(f"* {note}" for note in notes)
