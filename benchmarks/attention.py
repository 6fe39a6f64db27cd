"""Attention kernels against what bounds them.

``python -m benchmarks.attention [--tier T] [--threads 1,2] [--kv f16|int8] [--context N] [--json]``: decode
of one token in all layers of BitNet b1.58 2B-4T against a plain read loop over the same caches, prefill of
some tokens against the tier's fused multiply-add on registers. attention.c takes the timings of a round one
right after the other; a figure is the median over rounds, a share the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.kernels import TRIPLES, choose_tier
from benchmarks.peer.conditions import conditions
from edgebit.bundle.link import zig_environment, zig_executable
from edgebit.errors import EdgebitError
from edgebit.schedules.attention_chunk import KEY_CHUNK
from edgebit.schedules.attention_prefill import prefill_scratch
from edgebit.schedules.catalogue import kernel
from edgebit.schedules.kv_cache import KV_TYPES, cache_bytes
from edgebit.schedules.lowering import compile_object
from edgebit.schedules.tier import Tier

DRIVER = Path(__file__).with_name("attention.c")
LAYERS, GROUP, KV_HEADS, HEAD_DIM = 30, 4, 5, 128  # BitNet b1.58 2B-4T


@dataclass(frozen=True)
class Work:
    """One measurement; ``context``: keys the decoded token and the last token of prefill see."""

    kv: str
    context: int
    tokens: int
    threads: int
    layers: int = LAYERS

    @property
    def read_bytes(self) -> int:
        return 2 * self.layers * cache_bytes(self.kv, KV_HEADS, self.context, HEAD_DIM)

    @property
    def decode_macs(self) -> int:
        return 2 * self.layers * self.context * GROUP * KV_HEADS * HEAD_DIM

    @property
    def prefill_macs(self) -> int:
        keys = sum(range(self.context - self.tokens + 1, self.context + 1))
        return 2 * keys * GROUP * KV_HEADS * HEAD_DIM


@dataclass(frozen=True)
class Figure:
    """Medians: milliseconds a token (decode) or a layer (prefill), microseconds a layer (merge)."""

    kv: str
    context: int
    threads: int
    decode_ms: float
    decode_gb_per_second: float
    decode_share_of_bandwidth: float
    decode_share_of_peak: float
    merge_us: float
    tokens: int
    prefill_ms: float
    prefill_share_of_peak: float


def main() -> None:
    arguments = _arguments()
    console = Console(stderr=arguments.json)
    try:
        tier = choose_tier(arguments.tier)
        with tempfile.TemporaryDirectory(prefix="edgebit-attention-") as folder:
            program = build(tier, arguments.kv, Path(folder))
            facts = {
                **conditions(),
                "Tier": tier.name,
                "Cache": arguments.kv,
                "Rounds": str(arguments.rounds),
            }
            work = [Work(arguments.kv, arguments.context, arguments.tokens, n) for n in arguments.threads]
            figures = [measure(program, each, arguments.rounds) for each in work]
    except EdgebitError as error:
        console.print(f"error: {error}", markup=False)
        sys.exit(1)
    if arguments.json:
        document = {"conditions": facts, "figures": [asdict(figure) for figure in figures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(console, facts, figures)


def build(tier: Tier, kv: str, folder: Path) -> Path:
    """The driver with the attention kernels, compiled as for a bundle."""
    static = {"head_dim": HEAD_DIM, "scale": HEAD_DIM**-0.5, "group": GROUP, "kv": kv}
    kernels = {name: kernel(name, tier, **static) for name in ("attention_decode", "attention_prefill")}
    kernels["attention_merge"] = kernel("attention_merge", tier, head_dim=HEAD_DIM)
    objects = compile_object(
        {name: built.prim_func for name, built in kernels.items()}, tier, TRIPLES[tier.architecture]
    )
    (folder / "kernels.o").write_bytes(objects)
    program = folder / "attention"
    flags = ["-O3", "-march=native", "-w", f"-DPEAK_{tier.name}", "-o", str(program), "-lpthread"]
    subprocess.run(
        [str(zig_executable()), "cc", *flags, str(DRIVER), "kernels.o"],
        cwd=folder,
        env=zig_environment(folder),
        check=True,
    )
    return program


def measure(program: Path, work: Work, rounds: int) -> Figure:
    scratch = max(prefill_scratch(HEAD_DIM, GROUP), 4 * GROUP * KEY_CHUNK)
    cache = cache_bytes(work.kv, KV_HEADS, work.context, HEAD_DIM)
    sizes = [work.threads, rounds, work.layers, GROUP, KV_HEADS, HEAD_DIM, work.context]
    command = [str(program), *map(str, [*sizes, cache, scratch, work.tokens])]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    samples = [[float(value) for value in line.split()] for line in lines]
    return _figure(work, [sample[1:] for sample in samples if sample[0] > 0])  # the first warms up


def _figure(work: Work, samples: Sequence[Sequence[float]]) -> Figure:
    def median(values: Sequence[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    read, peak, peak_macs, decode, merge, prefill = zip(*samples, strict=True)
    rates = [macs / seconds for macs, seconds in zip(peak_macs, peak, strict=True)]
    return Figure(
        kv=work.kv,
        context=work.context,
        threads=work.threads,
        decode_ms=median([seconds * 1e3 for seconds in decode], 2),
        decode_gb_per_second=median([work.read_bytes / seconds / 1e9 for seconds in decode], 1),
        decode_share_of_bandwidth=median([r / d for r, d in zip(read, decode, strict=True)], 3),
        decode_share_of_peak=median(
            [work.decode_macs / d / rate for d, rate in zip(decode, rates, strict=True)], 3
        ),
        merge_us=median([seconds / work.layers * 1e6 for seconds in merge], 2),
        tokens=work.tokens,
        prefill_ms=median([seconds * 1e3 for seconds in prefill], 2),
        prefill_share_of_peak=median(
            [work.prefill_macs / p / rate for p, rate in zip(prefill, rates, strict=True)], 3
        ),
    )


def _show(console: Console, facts: Mapping[str, str], figures: Sequence[Figure]) -> None:
    table = Table("threads", "kernel", "ms", "GB/s", "of read loop", "of peak")
    for figure in figures:
        n = str(figure.threads)
        table.add_row(
            n,
            f"decode, {figure.context} keys, all layers",
            f"{figure.decode_ms:.2f}",
            f"{figure.decode_gb_per_second:.1f}",
            f"{figure.decode_share_of_bandwidth:.1%}",
            f"{figure.decode_share_of_peak:.1%}",
        )
        table.add_row(n, f"merge, {figure.context} keys, a layer", f"{figure.merge_us / 1e3:.4f}")
        table.add_row(
            n,
            f"prefill, {figure.tokens} tokens, a layer",
            f"{figure.prefill_ms:.2f}",
            "",
            "",
            f"{figure.prefill_share_of_peak:.1%}",
        )
    console.print(table)
    for name, fact in facts.items():
        console.print(f"{name}: {fact}", markup=False, highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--tier", help="default: the best of this processor")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--kv", choices=KV_TYPES, default="f16", help="elements of the cache")
    parser.add_argument("--context", type=int, default=4000, help="keys, a multiple of 16")
    parser.add_argument("--tokens", type=int, default=512, help="of prefill: the last of the context")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
    return parser.parse_args()


if __name__ == "__main__":
    main()
