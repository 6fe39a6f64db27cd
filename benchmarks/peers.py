"""edgebit side by side with other engines: same shapes, same weights, correctness first, then speed.

    python benchmarks/peers.py --quick                 # edgebit and llama.cpp, whole model, a few minutes
    python -m benchmarks.peers --peer-python VENV/bin/python --layers 2

Engines are found in this interpreter and in those of --peer-python. Models are made once in --work. The table
is printed and written into RESULTS.md, a plot beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # run as a file: this folder is there, and "benchmarks" is not found in it

from benchmarks.peer.child import find, interpreters  # noqa: E402
from benchmarks.peer.comparison import Bench, Comparison  # noqa: E402
from benchmarks.peer.conditions import conditions  # noqa: E402
from benchmarks.peer.models import Models  # noqa: E402
from benchmarks.peer.plot import write_plot  # noqa: E402
from benchmarks.peer.registry import CONTENDERS, EDGEBIT, ENGINES, INDEPENDENT  # noqa: E402
from benchmarks.peer.report import report, write_results  # noqa: E402
from benchmarks.peer.rounds import Workload  # noqa: E402
from edgebit.errors import EdgebitError  # noqa: E402

QUICK = Workload(prompt=32, decode=24, prefill=512, rounds=3)
FULL = Workload(prompt=32, decode=48, prefill=512, rounds=7)
QUICK_CONTENDERS = [
    contender
    for contender in CONTENDERS
    if contender == INDEPENDENT or (contender.full_size and contender.engine in (EDGEBIT, "llama.cpp"))
]


def main() -> None:
    arguments = _arguments()
    try:
        section = run(arguments)
    except EdgebitError as error:
        sys.exit(f"peers: {error}")
    print(section)


def run(arguments: argparse.Namespace) -> str:
    """The report, written where it belongs. Raises EdgebitError."""
    workload = QUICK if arguments.quick else FULL
    bench = Bench(
        pythons=interpreters(arguments.peer_python),
        threads=arguments.threads,
        workload=replace(workload, rounds=arguments.rounds or workload.rounds),
        lock=arguments.lock,
        say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written fails before an hour
    facts = conditions()
    checkpoint = arguments.checkpoint or _synthetic(arguments.work)
    models = Models(checkpoint, arguments.work / "whole", find(ENGINES["llama.cpp"], bench.pythons))
    few_layers = models.cut(arguments.layers)
    check = bench.check(few_layers, [c for c in CONTENDERS if not arguments.quick or c in QUICK_CONTENDERS])
    whole = [row for row in check.rows if row.contender.full_size]
    comparisons = [bench.time("the whole model", models, whole)]
    if not arguments.quick:
        title = f"the first {arguments.layers} layers, for engines too slow for all"
        comparisons.append(bench.time(title, few_layers, check.rows))
    # Two sections and two plots: a quick run does not replace the figures of a long one.
    program, picture = (
        ("peers.py --quick", "peers_quick.png") if arguments.quick else ("peers.py", "peers.png")
    )
    plot = _plot(comparisons[0], arguments.output.with_name(picture))
    section = report(program, check, comparisons, facts, plot)
    write_results(arguments.output, program, section)
    return section


def _synthetic(work: Path) -> Path:
    """The 2B-4T-shaped checkpoint of benchmarks.synthetic, written if it is not there."""
    folder = work / "2b4t"
    if not folder.exists():
        command = [sys.executable, "-m", "benchmarks.synthetic", "2b4t", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def _plot(comparison: Comparison, file: Path) -> str | None:
    """The plot's name; None without matplotlib, which is said."""
    if find_spec("matplotlib") is None:
        print("  no plot: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
        return None
    write_plot(comparison, file)
    return file.name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="edgebit and llama.cpp alone, fewer rounds")
    parser.add_argument(
        "--checkpoint", type=Path, help="a packed BitNet checkpoint (default: a synthetic 2B-4T)"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".cache" / "peers", help="where models are made and kept (10 GB)"
    )
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="PATH", help="another interpreter to look in"
    )
    parser.add_argument("--threads", type=_threads, default=[1, 2], help="numbers of threads (default: 1,2)")
    parser.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}, --quick {QUICK.rounds}")
    parser.add_argument("--layers", type=int, default=2, help="layers on which logits are checked")
    parser.add_argument("--lock", type=Path, help="a file to lock while timing, on shared machines")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    return parser.parse_args()


def _threads(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("a number of threads is at least 1")
    return counts


if __name__ == "__main__":
    main()
