"""``python -m benchmarks.imports CHECKPOINT``: what reading a model costs, in every format it may come in.

A packed BitNet checkpoint is written in each format in turn, read by a process of its own, and removed again.
Reading is what comes before TVM: files, graph, tokenizer, and every byte of the weights as the compiler asks
for them. Memory is what the process holds beside its mapped files (RssAnon), above what it held with
everything imported and nothing read; seconds are of the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from select import select
from typing import Annotated

import typer

import edgebit
from benchmarks.peer.checkpoints import write_masters, write_products
from benchmarks.peer.child import ROOT, child_environment
from edgebit.commands.console import OUT
from edgebit.model import open_checkpoint

Maker = Callable[[Path, Path], Path]
_INTERVAL = 0.005  # seconds between two looks at the process
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def _gguf(projections: str) -> Maker:
    def write(checkpoint: Path, folder: Path) -> Path:
        from benchmarks.peer.gguf_file import write_gguf

        for name in _TOKENIZER:
            if (checkpoint / name).is_file():
                (folder / name).symlink_to((checkpoint / name).resolve())
        write_gguf(open_checkpoint(checkpoint), folder / "model.gguf", "f16", projections)
        return folder / "model.gguf"

    return write


def _masters(checkpoint: Path, folder: Path) -> Path:
    write_masters(checkpoint, "edgebit/masters", folder)
    return next(folder.glob("models--*/snapshots/*"))


def _products(checkpoint: Path, folder: Path) -> Path:
    return write_products(checkpoint, folder / "model")


def _onnx(flavor: str) -> Maker:
    return lambda checkpoint, folder: edgebit.export(checkpoint, folder / "graph", flavor=flavor)


FORMATS: Mapping[str, Maker] = {
    "safetensors, packed": lambda checkpoint, folder: checkpoint,
    "safetensors, bfloat16 masters": _masters,
    "safetensors, float16 products": _products,
    "GGUF I2_S": _gguf("i2_s"),
    "GGUF TQ1_0": _gguf("tq1_0"),
    "GGUF TQ2_0": _gguf("tq2_0"),
    "ONNX": _onnx("edgebit"),
    "ONNX, MatMulNBits": _onnx("matmulnbits"),
}


def imports(
    checkpoint: Annotated[Path, typer.Argument(help="Packed BitNet checkpoint folder.")],
    work: Annotated[Path | None, typer.Option(help="Where formats are written for a while.")] = None,
    only: Annotated[str, typer.Option(help="Formats whose name has this in it.")] = "",
) -> None:
    """Peak memory and CPU seconds of reading a model in every format."""
    OUT.print("| format | bytes | peak above mapped files, MB | of it tokenizer, MB | CPU, s |")
    OUT.print("|---|---|---|---|---|")
    for name, make in FORMATS.items():
        if only not in name:
            continue
        with tempfile.TemporaryDirectory(dir=work, prefix="edgebit-imports-") as folder:
            model = make(checkpoint, Path(folder))
            size = sum(path.stat().st_size for path in (model.parent if model.is_file() else model).iterdir())
            peak, tokenizer, seconds = measure(model)
        row = f"| {name} | {size:,} | {peak / 1e6:.0f} | {tokenizer / 1e6:.0f} | {seconds:.1f} |"
        OUT.print(row, markup=False, soft_wrap=True)


def measure(model: Path) -> tuple[int, int, float]:
    """Bytes at the peak, those at the peak of the tokenizer alone, and seconds of the processor."""
    command = [sys.executable, "-m", "benchmarks.imports", "--child", str(model)]
    child = subprocess.Popen(
        command, cwd=ROOT, env=child_environment(1), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    child.stdout.readline()  # everything is imported
    held = anonymous(child.pid)
    peaks = []
    for _ in range(2):  # the tokenizer, the rest
        child.stdin.write("\n")
        child.stdin.flush()
        peaks.append(_peak_until_a_line(child) - held)
    seconds = json.loads(child.stdout.readline())
    if child.wait():
        raise SystemExit(f"benchmarks.imports: {model} cannot be read")
    return max(peaks), peaks[0], float(seconds)


def _peak_until_a_line(child: subprocess.Popen[str]) -> int:
    assert child.stdout
    peak = 0
    while not select([child.stdout], [], [], 0)[0]:
        peak = max(peak, anonymous(child.pid))
        time.sleep(_INTERVAL)
    child.stdout.readline()
    return peak


def anonymous(process: int) -> int:
    """Bytes of memory that are of no file; 0 of a process that has ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def child(model: str) -> None:
    """Read a model, in step with `measure`."""
    from edgebit.pipeline import open_graph, text_table_of

    print(flush=True)
    sys.stdin.readline()
    before = time.process_time()
    graph = open_graph(model)
    text_table_of(graph)
    print(flush=True)
    sys.stdin.readline()
    with Path("/dev/null").open("wb") as sink:
        for value in graph.ir.graph.initializers.values():
            assert value.const_value is not None
            value.const_value.tofile(sink)  # type: ignore[attr-defined]
    print(flush=True)
    print(time.process_time() - before, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        typer.run(imports)
