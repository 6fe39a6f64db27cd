"""One comparison: every contender on one model, checked first, then timed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peer.agreement import Agreement, agree
from benchmarks.peer.child import Answers, Child, Installed, PeerError, find
from benchmarks.peer.models import Models
from benchmarks.peer.registry import EDGEBIT, ENGINES, OWN, Contender, Engine
from benchmarks.peer.rounds import Say, Speeds, Workload, run_rounds, tokens
from benchmarks.peer.session import Floats
from edgebit.errors import EdgebitError
from edgebit.version import VERSION

CHECKED_TOKENS = 24
# The reference names are what the tables show.
MODEL, SILU = "the model", "the model with SiLU for relu²"
INDEPENDENT = "transformers, float32"


@dataclass
class Row:
    """What was found out about one contender. `failure`: why it has no figures."""

    contender: Contender
    agreement: Agreement | None = None
    speeds: dict[int, Speeds] = field(default_factory=dict)  # by threads
    failure: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether it has figures on every number of threads."""
        return bool(self.speeds) and not self.failure

    @property
    def difference(self) -> str:
        """What it computes instead of the model; empty where it is the model."""
        if self.agreement is None:
            return ""
        if not self.agreement.holds:
            return f"other logits (KL {self.agreement.divergence:.1e})"
        return "" if self.agreement.reference == MODEL else f"computes {self.agreement.reference}"


@dataclass(frozen=True)
class Comparison:
    title: str
    rows: Sequence[Row]
    missing: Sequence[Engine]
    versions: Sequence[tuple[str, str]]
    threads: Sequence[int]
    workload: Workload
    reference: str  # who computed the logits the others were held against


@dataclass(frozen=True)
class Bench:
    """What all comparisons of a run share."""

    pythons: tuple[str, ...]
    threads: Sequence[int]
    workload: Workload
    lock: Path | None
    say: Say

    def installed(self, contender: Contender) -> Installed | None:
        """edgebit is the one that is imported here, installed or not."""
        engine = ENGINES[contender.engine]
        if engine.name == EDGEBIT:
            return Installed(engine, sys.executable, VERSION)
        return find(engine, self.pythons)

    def compare(self, title: str, models: Models, contenders: Sequence[Contender]) -> Comparison:
        """Raises EdgebitError where edgebit itself fails; a peer's failure is in its row."""
        present = [contender for contender in contenders if self.installed(contender)]
        engines = {contender.engine: self.installed(contender) for contender in present}
        wanted = [contender.engine for contender in contenders]
        rows = self._check(models, present)
        for threads in self.threads:
            self._time(models, [row for row in rows if row.agreement and row.contender.timed], threads)
        return Comparison(
            title=title,
            rows=rows,
            missing=[ENGINES[name] for name in dict.fromkeys(wanted) if name not in engines],
            versions=[(found.engine.package, found.version) for found in engines.values() if found],
            threads=self.threads,
            workload=self.workload,
            reference=_reference_name(rows),
        )

    @contextmanager
    def _kept(self, row: Row) -> Iterator[None]:
        """A peer that fails is kept with its reason; without edgebit there is nothing to compare."""
        try:
            yield
        except EdgebitError as error:
            if row.contender == OWN:
                raise
            row.failure = str(error)

    # ---- correctness -----------------------------------------------------------------------------

    def _check(self, models: Models, contenders: Sequence[Contender]) -> list[Row]:
        """A row for each contender with its agreement, or with the reason why it has none."""
        rows, answers = [Row(contender) for contender in contenders], {}
        for row in rows:
            self.say(f"{row.contender.name}: model, logits")
            with self._kept(row):
                answers[row.contender] = self._answers(models, row.contender, row.contender.model)
        references = self._references(models, answers)
        for row in rows:
            if row.contender in answers:
                row.agreement = agree(references, answers[row.contender])
        return rows

    def _references(self, models: Models, answers: Mapping[Contender, Answers]) -> dict[str, Floats]:
        """Logits to be near to: of transformers where it was asked for and runs, of edgebit otherwise."""
        independent = [c for c in answers if c.name == INDEPENDENT]
        references = {MODEL: answers[independent[0] if independent else OWN].logits}
        if models.config.hidden_act == "relu2" and len(answers) > 1:
            self.say("edgebit with SiLU: model, logits")
            references[SILU] = self._answers(models, OWN, "silu-bundle").logits
        return references

    def _answers(self, models: Models, contender: Contender, kind: str) -> Answers:
        with self._open(models, contender, kind, threads=1) as child:
            return child.answers(tokens(CHECKED_TOKENS, models.config.vocab_size))

    # ---- speed -----------------------------------------------------------------------------------

    def _time(self, models: Models, rows: Sequence[Row], threads: int) -> None:
        with ExitStack() as stack:
            opened: list[tuple[Row, Child]] = []
            for row in rows:
                self.say(f"{row.contender.name}: opens, {threads_text(threads)}")
                with self._kept(row):
                    child = self._open(models, row.contender, row.contender.model, threads)
                    opened.append((row, stack.enter_context(child)))
            self.say(f"rounds ({self.workload.rounds}), {threads_text(threads)}")
            children = [child for _, child in opened]
            speeds = run_rounds(children, self.workload, models.config.vocab_size, self.lock, self.say)
        for (row, _), found in zip(opened, speeds, strict=True):
            row.speeds[threads] = found

    def _open(self, models: Models, contender: Contender, kind: str, threads: int) -> Child:
        installed = self.installed(contender)
        if installed is None:
            raise PeerError(f"{contender.engine} is not installed: {ENGINES[contender.engine].install}")
        return Child(contender, installed, models.get(kind), threads)


def threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _reference_name(rows: Sequence[Row]) -> str:
    answered = [row.contender.name for row in rows if row.agreement]
    return INDEPENDENT if INDEPENDENT in answered else OWN.name
