"""What is found out about the engines: first whether they compute the model, then how fast they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peer.agreement import Agreement, agree
from benchmarks.peer.child import Answers, Child, Installed, PeerError, find
from benchmarks.peer.models import Models
from benchmarks.peer.registry import EDGEBIT, ENGINES, INDEPENDENT, OWN, Contender, Engine
from benchmarks.peer.rounds import Say, Speeds, Workload, run_rounds, tokens
from edgebit.errors import EdgebitError
from edgebit.version import VERSION

CHECKED_TOKENS = 24
# The references, as the tables call them.
MODEL, SILU = "the model", "the model with SiLU for relu²"


@dataclass
class Row:
    """What is known of one contender. `failure`: why it has no figures."""

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
        if not self.agreement.holds_after_long:
            return f"long prefill is wrong (KL {self.agreement.after_long:.1e} after it)"
        return "" if self.agreement.reference == MODEL else f"computes {self.agreement.reference}"


@dataclass(frozen=True)
class Check:
    """The logits of all contenders against a reference, on the first `layers` layers."""

    rows: Sequence[Row]
    layers: int
    reference: str  # the contender whose logits these are
    missing: Sequence[Engine]
    versions: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Comparison:
    """Speeds of contenders on one model."""

    title: str
    rows: Sequence[Row]
    threads: Sequence[int]
    workload: Workload


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

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

    # ---- correctness -----------------------------------------------------------------------------

    def check(self, models: Models, contenders: Sequence[Contender]) -> Check:
        """Everyone's logits on a model of few layers: in many, random weights amplify every rounding.

        Raises EdgebitError where edgebit itself fails; a peer's failure is in its row.
        """
        rows = [Row(contender) for contender in contenders if self.installed(contender)]
        answers: dict[Contender, Answers] = {}
        for row in rows:
            self.say(f"{row.contender.name}: model, logits")
            with _kept(row):
                answers[row.contender] = self._answers(models, row.contender, row.contender.model)
        reference = INDEPENDENT if INDEPENDENT in answers else OWN
        references = self._references(models, answers, answers[reference])
        for row in rows:
            if row.contender in answers:
                row.agreement = agree(references, answers[row.contender])
        engines = {contender.engine: self.installed(contender) for contender in contenders}
        return Check(
            rows=rows,
            layers=models.config.num_hidden_layers,
            reference=reference.name,
            missing=[ENGINES[name] for name, found in engines.items() if not found],
            versions=[(found.engine.package, found.version) for found in engines.values() if found],
        )

    def _references(
        self, models: Models, answers: Mapping[Contender, Answers], reference: Answers
    ) -> dict[str, Answers]:
        """Answers to be near to. SiLU: what llama.cpp's BitNet graph computes whatever the model says."""
        references = {MODEL: reference}
        if models.config.hidden_act == "relu2" and len(answers) > 1:
            self.say("edgebit with SiLU: model, logits")
            references[SILU] = self._answers(models, OWN, "silu-bundle")
        return references

    def _answers(self, models: Models, contender: Contender, kind: str) -> Answers:
        with self._open(models, contender, kind, threads=1) as child:
            vocab_size = models.config.vocab_size
            return child.answers(
                tokens(CHECKED_TOKENS, vocab_size), tokens(self.workload.prefill, vocab_size)
            )

    # ---- speed -----------------------------------------------------------------------------------

    def time(self, title: str, models: Models, checked: Sequence[Row]) -> Comparison:
        """Speeds of those that were checked and run."""
        rows = [Row(row.contender, row.agreement) for row in checked if row.agreement and row.contender.timed]
        for threads in self.threads:
            self._time(models, rows, threads)
        return Comparison(title, rows, self.threads, self.workload)

    def _time(self, models: Models, rows: Sequence[Row], threads: int) -> None:
        with ExitStack() as stack:
            opened: list[tuple[Row, Child]] = []
            for row in rows:
                self.say(f"{row.contender.name}: opens, {threads_text(threads)}")
                with _kept(row):
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


@contextmanager
def _kept(row: Row) -> Iterator[None]:
    """A peer that fails is kept with its reason; without edgebit there is nothing to compare."""
    try:
        yield
    except EdgebitError as error:
        if row.contender == OWN:
            raise
        row.failure = str(error)


def threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
