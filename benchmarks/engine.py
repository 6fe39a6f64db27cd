"""The engine at real size: ``python -m benchmarks.engine BUNDLE [--results FILE]``.

Runs `bench.py` of a bundle of 2B-4T shapes (`benchmarks.synthetic`, then `edgebit compile`) for one and two
threads, with a short and a long context, and beside a rival process on every CPU; measures the integer peak
of a core (`benchmarks.kernels`) and memory and start of a program that answers. All in one run, each speed as
a share of what bounds it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.kernels import SHAPES, Job, build, choose_tier, measure
from benchmarks.peer.conditions import conditions
from benchmarks.peer.report import markdown_table, write_results

PROGRAM = "python -m benchmarks.engine"
PROMPT = 512
SHORT, LONG = 128, 4000  # tokens of context
DECODED = 32
LONG_DECODED = 16

ANSWER = """
import json, sys, time
started = time.perf_counter()
sys.path.insert(0, sys.argv[1])
from edgebit_runtime import load
model = load(sys.argv[1])
opened = time.perf_counter()
first = None
prompt = [7 * i % 1000 + 300 for i in range(int(sys.argv[2]))]
for piece in model.generate(prompt, max_tokens=int(sys.argv[3])):
    first = first or time.perf_counter()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([opened - started, first - started, int(status["VmHWM"].split()[0]) * 1024]))
"""


def bench(bundle: Path, threads: int, prefill: int, decode: int, repeat: int = 5) -> dict[str, Any]:
    """One report of the bundle's own bench.py."""
    options = {"threads": threads, "prefill": prefill, "decode": decode, "repeat": repeat}
    arguments = [item for name, value in options.items() for item in (f"--{name}", str(value))]
    return dict(json.loads(run([sys.executable, str(bundle / "bench.py"), *arguments, "--json"])))


def answer(bundle: Path, prompt: int, tokens: int) -> tuple[float, float, int]:
    """Seconds until the model is open and until the first text, and the peak of resident bytes, of a program
    that answers a prompt.
    """
    seconds = json.loads(run([sys.executable, "-c", ANSWER, str(bundle), str(prompt), str(tokens)]))
    return float(seconds[0]), float(seconds[1]), int(seconds[2])


def integer_peak() -> float:
    """G MAC/s of one core on registers, with the best multiply instruction it has."""
    with tempfile.TemporaryDirectory(prefix="edgebit-peak-") as folder:
        work = [Job(SHAPES[0], 96)]
        program = build(choose_tier(None), work, Path(folder))
        figure = next(measure(program, work, 1, 5, 64))
    return figure.gmac_per_second / figure.share_of_peak


@contextmanager
def rivals() -> Iterator[None]:
    """A process that never rests on each CPU."""
    cpus = sorted(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in cpus]
    try:
        for process, cpu in zip(busy, cpus, strict=True):
            os.sched_setaffinity(process.pid, {cpu})
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def run(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"benchmarks.engine: {' '.join(command[:2])}: {result.stderr.strip()}")
    return result.stdout


def section(bundle: Path, console: Console) -> str:
    """The measurements as Markdown."""
    peak = integer_peak()
    rows = [
        [
            "threads",
            "prefill of 512",
            "of integer peak",
            "decode",
            "of roofline",
            "read speed",
            "with guesses",
        ]
    ]
    contexts = [["threads", f"decode at {SHORT}", f"at {LONG}", "kept", "beside rivals", "slower by"]]
    for threads in (1, 2):
        console.print(f"{threads} threads …")
        main = bench(bundle, threads, PROMPT, DECODED)
        rows.append(speeds(main, peak * threads))
        short = bench(bundle, threads, SHORT, DECODED)["decode"]["tokens_per_second"]
        long = bench(bundle, threads, LONG, LONG_DECODED, repeat=2)["decode"]["tokens_per_second"]
        with rivals():
            shared = bench(bundle, threads, SHORT, DECODED, repeat=3)["decode"]["tokens_per_second"]
        cells = (f"{short:.1f}", f"{long:.1f}", f"{long / short:.0%}")
        contexts.append([str(threads), *cells, f"{shared:.1f}", f"{short / shared:.2f}×"])
    opened, first, _ = answer(bundle, 16, 1)
    _, _, resident = answer(bundle, 256, 256)
    facts = {**conditions(), "Tier": main["conditions"]["tier"], "Bytes a token": bytes_of(main)}
    start = (
        f"A program that answers (2 threads): {opened * 1e3:.0f} ms from its first line to the open model, "
        f"file checks included; first text of a 16-token prompt after {first:.2f} s; at most "
        f"{resident / 1e6:.0f} MB resident with 512 tokens in the context."
    )
    lines = [
        "## edgebit at the size of 2B-4T: `python -m benchmarks.engine`",
        "\n".join(f"* {name}: {fact}" for name, fact in facts.items()),
        f"Tokens per second, medians. Integer peak: {peak:.0f} G MAC/s a core, measured; 2.08 G MAC a token.",
        markdown_table(rows),
        "Context of 128 and 4,000 tokens, and a process that never rests on each CPU:",
        markdown_table(contexts),
        start,
    ]
    return "\n\n".join(lines) + "\n"


def speeds(report: dict[str, Any], peak: float) -> list[str]:
    prefill, decode = report["prefill"], report["decode"]
    guesses = report.get("speculation")
    return [
        str(report["conditions"]["threads"]),
        f"{prefill['tokens_per_second']:.1f}",
        f"{prefill['gmac_per_second'] / peak:.0%}",
        f"{decode['tokens_per_second']:.1f}",
        f"{decode['roofline_fraction']:.0%}",
        f"{report['memory']['read_gb_per_second']:.1f} GB/s",
        f"{guesses['tokens_per_second']:.1f} ({guesses['accepted']} of {guesses['drafted']} right)"
        if guesses
        else "",
    ]


def bytes_of(report: dict[str, Any]) -> str:
    return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in report["decode"]["bytes"].items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--results", type=Path, metavar="FILE", help="put the section into this RESULTS.md")
    arguments = parser.parse_args()
    if not (arguments.bundle / "bench.py").is_file():
        parser.error(f"{arguments.bundle} is no bundle: compile a model of 2B-4T shapes for this machine")
    console = Console(stderr=True)
    text = section(arguments.bundle, console)
    if arguments.results:
        write_results(arguments.results, PROGRAM, text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
