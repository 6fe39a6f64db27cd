"""Instructions that the ternary kernels execute, counted under emulation on every tier that qemu-user knows.

``python -m benchmarks.instructions [--tokens 96] [--tier T,...]``: a Markdown table of executed instructions
for 16 multiplications, of the whole kernel (loops, epilogue and all) over 2560 x 2560 weights, for GEMV and
GEMM. Beside those of arm64 stand the cycles that llvm-mca predicts for what was executed, data in the L1
cache. Tiers that qemu-user cannot run (AVX-VNNI, AVX-512) are not counted.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arm.cycles import Core
from benchmarks.arm.emulate import SOURCES, build_plugin, read_report, run_tool
from edgebit.bundle.link import zig_environment, zig_executable
from edgebit.errors import EdgebitError, TargetError
from edgebit.schedules.catalogue import kernel
from edgebit.schedules.lowering import compile_object
from edgebit.schedules.tier import TIERS, Tier

ROWS, COLUMNS = 2560, 2560
TOKENS = 96
EPILOGUE = "residual"
_MACS = 16  # what instructions are counted for


@dataclass(frozen=True)
class Machine:
    """How an architecture is compiled for and emulated."""

    qemu: str
    triple: str
    zig_target: str


MACHINES = {
    "x86_64": Machine("qemu-x86_64", "x86_64-unknown-linux-gnu", "x86_64-linux-none"),
    "arm64": Machine("qemu-aarch64", "aarch64-unknown-linux-gnu", "aarch64-linux-none"),
    "armv7": Machine("qemu-arm", "armv7a-unknown-linux-gnueabihf", "arm-linux-musleabihf"),
    "riscv64": Machine("qemu-riscv64", "riscv64-unknown-linux-gnu", "riscv64-linux-none"),
}


@dataclass(frozen=True)
class Emulated:
    """A processor of qemu that has a tier, and LLVM's models of cores that have it too."""

    cpu: str
    cores: tuple[str, ...] = ()


ALONE = ("-nostdlib", "-rtlib=compiler-rt", "-static")
TIERS_COUNTED = {
    "avx2": Emulated("max"),
    "ssse3": Emulated("core2duo"),
    "sse2": Emulated("qemu64"),
    "i8mm": Emulated("max,sve=off", ("neoverse-v1",)),
    "dotprod": Emulated("cortex-a76", ("neoverse-n1",)),
    "neon": Emulated("cortex-a72", ("neoverse-n1", "cortex-a72")),
    "armv7neon": Emulated("cortex-a8"),
    "vfp": Emulated("cortex-a8"),
    "rv64gc": Emulated("sifive-u54"),
}


@dataclass(frozen=True)
class Count:
    """Of one kernel, for 16 multiplications: executed instructions, and cycles by core."""

    tier: str
    schedule: str
    tokens: int  # 0: GEMV
    instructions: float
    cycles: Mapping[str, float]


def main() -> None:
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="edgebit-instructions-") as folder:
            counts = [
                count
                for name in arguments.tier
                for count in count_tier(TIERS[name], (0, arguments.tokens), Path(folder))
            ]
    except EdgebitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print("\n".join(table(counts)))


def count_tier(tier: Tier, tokens: Sequence[int], folder: Path, estimate: bool = True) -> list[Count]:
    """Counts of the tier's GEMV (a number of tokens of 0) and GEMM; ``estimate``: cycles too.

    Raises TargetError where the emulator, or llvm-mca, is missing.
    """
    emulated, machine = TIERS_COUNTED[tier.name], MACHINES[tier.architecture]
    work = folder / tier.name
    work.mkdir()
    qemu = shutil.which(machine.qemu)
    if qemu is None:
        raise TargetError(f"{machine.qemu} is not installed; install the Debian package qemu-user")
    program = _build(tier, machine, tokens, work)
    command = [qemu, "-cpu", emulated.cpu, "-plugin"]
    plugin, report = build_plugin("total", work), work / "report"

    def executed(kernels: int) -> int:
        """Instructions of the program with so many arguments."""
        run_tool(
            [*command, f"{plugin},out={report}", str(program), *["x"] * kernels],
            f"the kernels of tier {tier.name} do not run on an emulated {emulated.cpu}",
        )
        return int(report.read_text())

    empty = executed(0)
    counts = []
    for number, size in enumerate(tokens):
        units = ROWS * COLUMNS * max(size, 1) / _MACS
        cycles: dict[str, float] = {}
        if estimate and emulated.cores:
            counter = build_plugin("counter", work)
            arguments = [f"{counter},out={report}", str(program), *["x"] * (number + 1)]
            run_tool([*command, *arguments], f"the kernels of tier {tier.name} cannot be traced")
            blocks = read_report(report)[1]
            for name in emulated.cores:
                core = Core(name)
                core.learn([blocks])
                cycles[name] = core.cycles(blocks) / units
        schedule = kernel(_kernel(size), tier).schedule
        counts.append(Count(tier.name, schedule, size, (executed(number + 1) - empty) / units, cycles))
    return counts


def table(counts: Sequence[Count]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| tier | schedule | tokens | instructions | cycles by llvm-mca |", "|---|---|---|---|---|"]
    for count in counts:
        cycles = ", ".join(f"{value:.2f} {core}" for core, value in count.cycles.items())
        cells = (
            count.tier,
            f"`{count.schedule}`",
            str(count.tokens or 1),
            f"{count.instructions:.2f}",
            cycles,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _kernel(tokens: int) -> str:
    return f"ternary_{'gemm' if tokens else 'gemv'}_{EPILOGUE}"


def _build(tier: Tier, machine: Machine, tokens: Sequence[int], work: Path) -> Path:
    """kernel.c with a kernel for each number of tokens, as compiled for a bundle."""
    symbols = [f"kernel_{size}" for size in tokens]
    for symbol, size in zip(symbols, tokens, strict=True):
        built = kernel(_kernel(size), tier)
        code = compile_object({symbol: built.prim_func}, built.tier, machine.triple)
        (work / f"{symbol}.o").write_bytes(code)
    declarations = "".join(f"void {symbol}(void);\n" for symbol in symbols)
    entries = ", ".join(f"(void *){symbol}" for symbol in symbols)
    sizes = ", ".join(map(str, tokens))
    (work / "table.c").write_text(
        f"{declarations}void *const kernels[] = {{{entries}}};\nconst int tokens[] = {{{sizes}}};\n"
    )
    program = work / "program"
    shape = [f"-DROWS={ROWS}", f"-DCOLUMNS={COLUMNS}", f"-DTOKENS={max(*tokens, 1)}"]
    flags = ["-O1", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-sanitize=all", "-w"]
    subprocess.run(
        [
            *(str(zig_executable()), "cc", "-target", machine.zig_target, *flags, *ALONE),
            *(
                *shape,
                "-o",
                str(program),
                str(SOURCES / "kernel.c"),
                "table.c",
                *(f"{symbol}.o" for symbol in symbols),
            ),
        ],
        cwd=work,
        env=zig_environment(work),
        check=True,
    )
    return program


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of the GEMM")
    parser.add_argument(
        "--tier",
        type=lambda text: text.split(","),
        default=list(TIERS_COUNTED),
        help="those to count, in this order",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
