"""Ternary kernels against what bounds them.

``python -m benchmarks.kernels [--tier T] [--threads 1,2] [--tokens 1,2] [--json]``: GEMV against a plain read
loop over the same weights, GEMM against the tier's multiply instruction on registers (and the addition to a
sum, where that is another one). kernels.c takes both timings one right after the other. A figure is the
median over rounds, a share the median of the rounds' ratios: a clock or a neighbour that changes between
rounds does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peer.conditions import conditions
from edgebit.bundle.link import zig_environment, zig_executable
from edgebit.errors import EdgebitError, TargetError
from edgebit.schedules.catalogue import kernel
from edgebit.schedules.lowering import compile_object
from edgebit.schedules.tier import TIERS, Tier, host_architecture, tiers_of

DRIVER = Path(__file__).with_name("kernels.c")
WORKING_SET = 384
"""MB of weights: many times the last level cache."""

TOKENS = (1, 2, 3, 4, 6, 8, 12, 13, 24, 25, 48, 96)

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}


@dataclass(frozen=True)
class Shape:
    """A linear of BitNet b1.58 2B-4T: ``rows`` outputs (gate and up in turn: of both), ``columns`` inputs."""

    epilogue: str
    rows: int
    columns: int
    blocks_of_unit: int = 1


SHAPES = (Shape("residual", 2560, 2560), Shape("relu2_mul", 13824, 2560, 2), Shape("residual", 2560, 6912))


@dataclass(frozen=True)
class Job:
    """One kernel on one shape; ``tokens`` 0 means GEMV."""

    shape: Shape
    tokens: int

    @property
    def kernel(self) -> str:
        return f"ternary_{'gemm' if self.tokens else 'gemv'}_{self.shape.epilogue}"


@dataclass(frozen=True)
class Figure:
    """Medians of one job: GB/s of weights, G MAC/s, and shares of what bounds them."""

    kernel: str
    rows: int
    columns: int
    tokens: int
    threads: int
    read_gb_per_second: float
    share_of_bandwidth: float | None
    gmac_per_second: float
    share_of_peak: float


def main() -> None:
    arguments = _arguments()
    console = Console(stderr=arguments.json)
    try:
        tier = choose_tier(arguments.tier)
        with tempfile.TemporaryDirectory(prefix="edgebit-kernels-") as folder:
            work = jobs(arguments.tokens)
            program = build(tier, work, Path(folder))
            facts = {**conditions(), "Tier": tier.name, "Rounds": str(arguments.rounds)}
            figures = [
                figure for n in arguments.threads for figure in measure(program, work, n, arguments.rounds)
            ]
    except EdgebitError as error:
        console.print(f"error: {error}", markup=False)
        sys.exit(1)
    if arguments.json:
        document = {"conditions": facts, "figures": [asdict(figure) for figure in figures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(console, facts, figures)


def jobs(tokens: Sequence[int]) -> list[Job]:
    return [Job(shape, n) for n in (0, *tokens) for shape in SHAPES]


def build(tier: Tier, work: Sequence[Job], folder: Path) -> Path:
    """The driver with the kernels of the jobs, compiled as for a bundle."""
    names = sorted({job.kernel for job in work})
    objects = compile_object(
        {name: kernel(name, tier).prim_func for name in names}, tier, TRIPLES[tier.architecture]
    )
    (folder / "kernels.o").write_bytes(objects)
    declarations = "".join(f"void {name}(void);\n" for name in names)
    entries = ", ".join(f"(void *){name}" for name in names)
    (folder / "table.c").write_text(f"{declarations}void *const kernels[] = {{{entries}}};\n")
    program = folder / "kernels"
    flags = ["-O3", "-march=native", "-w", f"-DPEAK_{tier.name}", "-o", str(program), "-lpthread"]
    subprocess.run(
        [str(zig_executable()), "cc", *flags, str(DRIVER), "table.c", "kernels.o"],
        cwd=folder,
        env=zig_environment(folder),
        check=True,
    )
    return program


def measure(
    program: Path, work: Sequence[Job], threads: int, rounds: int, megabytes: int = WORKING_SET
) -> Iterator[Figure]:
    names = sorted({job.kernel for job in work})
    arguments = [
        f"{names.index(job.kernel)}:{job.shape.rows}:{job.shape.columns}:{job.tokens}:{job.shape.blocks_of_unit}"
        for job in work
    ]
    command = [str(program), str(threads), str(rounds), str(megabytes), *arguments]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    samples: dict[int, list[list[float]]] = {}
    for line in lines:
        round_number, position, *values = line.split()
        if int(round_number) > 0:  # the first warms caches and clock
            samples.setdefault(int(position), []).append([float(value) for value in values])
    for number, job in enumerate(work):
        yield _figure(job, threads, samples[number])


def _figure(job: Job, threads: int, samples: Sequence[Sequence[float]]) -> Figure:
    bandwidth, of_bandwidth, products, of_peak = [], [], [], []
    for seconds, weight_bytes, macs, read_seconds, read_bytes, peak_seconds, peak_macs in samples:
        bandwidth.append(weight_bytes / seconds)
        products.append(macs / seconds)
        of_peak.append(macs / seconds / (peak_macs / peak_seconds))
        if read_seconds:
            of_bandwidth.append(weight_bytes / seconds / (read_bytes / read_seconds))
    return Figure(
        kernel=job.kernel,
        rows=job.shape.rows,
        columns=job.shape.columns,
        tokens=job.tokens or 1,
        threads=threads,
        read_gb_per_second=round(statistics.median(bandwidth) / 1e9, 2),
        share_of_bandwidth=round(statistics.median(of_bandwidth), 3) if of_bandwidth else None,
        gmac_per_second=round(statistics.median(products) / 1e9, 1),
        share_of_peak=round(statistics.median(of_peak), 3),
    )


def _show(console: Console, facts: Mapping[str, str], figures: Sequence[Figure]) -> None:
    table = Table(
        "kernel", "rows × columns", "threads", "tokens", "GB/s", "of read loop", "G MAC/s", "of peak",
    )  # fmt: skip
    for figure in figures:
        share = figure.share_of_bandwidth
        table.add_row(
            figure.kernel.removeprefix("ternary_"),
            f"{figure.rows}×{figure.columns}",
            str(figure.threads),
            str(figure.tokens),
            f"{figure.read_gb_per_second:.1f}",
            "" if share is None else f"{share:.1%}",
            f"{figure.gmac_per_second:.0f}",
            f"{figure.share_of_peak:.1%}",
        )
    console.print(table)
    for name, fact in facts.items():
        console.print(f"{name}: {fact}", markup=False, highlight=False)


def choose_tier(name: str | None) -> Tier:
    """The one asked for, or the best of this processor (by what /proc/cpuinfo says)."""
    known = tiers_of(host_architecture())
    if name is not None:
        if TIERS.get(name) not in known:
            raise TargetError(
                f"tier {name!r} is none of this processor's: it has {', '.join(t.name for t in known)}"
            )
        return TIERS[name]
    flags = Path("/proc/cpuinfo").read_text().replace("_", "").replace("asimddp", "dotprod").split()
    return next(tier for tier in known if set(tier.requires) <= set(flags))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--tier", help="default: the best of this processor")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--tokens", type=lambda text: [int(n) for n in text.split(",")], default=list(TOKENS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
    return parser.parse_args()


if __name__ == "__main__":
    main()
