"""The boards, and how counted work becomes tokens a second on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """A tier's typical core: qemu runs exactly its instructions, ``mcpu`` is LLVM's model of its pipeline."""

    tier: str
    emulated: str
    mcpu: str


A76 = Processor("dotprod", "cortex-a76", "neoverse-n1")
A72 = Processor("neon", "cortex-a72", "cortex-a72")
PROCESSORS = (A76, A72)


@dataclass(frozen=True)
class Board:
    """Clock in Hz; ``bandwidth``: least and most bytes a second that published measurements read."""

    name: str
    processor: Processor
    clock: float
    cores: int
    bandwidth: tuple[float, float]


BOARDS = (
    Board("Raspberry Pi 5", A76, 2.4e9, 4, (9.5e9, 12e9)),
    Board("Raspberry Pi 4", A72, 1.8e9, 4, (4.5e9, 4.5e9)),
)

ASSUMPTIONS = (
    "Instructions are counted, not estimated: the shipped libmodel.so runs under qemu-user, one thread.",
    "Cycles are llvm-mca's for each executed block as if repeated: data in L1, branches predicted. LLVM "
    "models Cortex-A72 as A57 and has no model of A76: its server version Neoverse N1 stands for it.",
    "low: a step's cycles and its memory traffic add up, at the lower bandwidth. high: they overlap "
    "completely, at the higher one. Traffic is what a step streams of weights.bin (for a prompt, once for "
    "each full chunk), nothing else.",
    "Bandwidth: Pi 4 4.5 GB/s, Pi 5 9.5 to 12 GB/s, as published for reads of all cores; one core is taken "
    "to reach the same, which flatters 1 thread.",
    "Work divides evenly over threads; barriers, throttling and the operating system cost nothing.",
    "Caches that hold weights are left out: the built-in model, 1.5 MB, is faster where it fits them.",
    "2b4t: one layer is measured and taken 30 times; what the lm_head does is a line through two small "
    "vocabularies, with the survivors of screening that random weights give.",
)


@dataclass(frozen=True)
class Work:
    """What one kernel in one place of the model does for a token, all its calls together."""

    kernel: str
    label: str
    calls: float
    instructions: float
    simd: float  # of the instructions
    cycles: float
    weight_bytes: float

    @property
    def kind(self) -> tuple[str, str]:
        return self.kernel, self.label

    def __add__(self, other: Work) -> Work:
        return self._combine(other, float.__add__)

    def times(self, factor: float) -> Work:
        return self._combine(self, lambda mine, _: mine * factor)

    def extrapolated(self, less: Work, reach: float) -> Work:
        """So many steps from ``less`` to here further; what does not grow on the way stays as it is here."""
        return self._combine(less, lambda mine, its: mine + max(0.0, mine - its) * reach)

    def _combine(self, other: Work, rule: Callable[[float, float], float]) -> Work:
        pairs = zip(self._amounts, other._amounts, strict=True)
        return Work(self.kernel, self.label, *(rule(float(mine), float(its)) for mine, its in pairs))

    @property
    def _amounts(self) -> tuple[float, ...]:
        return self.calls, self.instructions, self.simd, self.cycles, self.weight_bytes


@dataclass(frozen=True)
class Prediction:
    """Tokens a second with so many threads: without and with overlap of computing and reading."""

    board: str
    model: str
    phase: str
    threads: int
    low: float
    high: float


def predict(board: Board, model: str, phase: str, work: Sequence[Work], threads: int) -> Prediction:
    """``work``: that of one token, by kernel."""
    slow, fast = board.bandwidth
    computing = [one.cycles / (board.clock * threads) for one in work]
    apart = sum(seconds + one.weight_bytes / slow for seconds, one in zip(computing, work, strict=True))
    together = sum(
        max(seconds, one.weight_bytes / fast) for seconds, one in zip(computing, work, strict=True)
    )
    return Prediction(board.name, model, phase, threads, 1 / apart, 1 / together)
