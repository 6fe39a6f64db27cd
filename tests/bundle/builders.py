"""Small inputs for the bundle package: a runtime of one C file, a kernel, a model of no layers."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import BinaryIO

from edgebit.bundle.link import zig_environment, zig_executable
from edgebit.compiler.target import Target, host_target
from edgebit.errors import ModelError

HEADER = """
#define EB_API __attribute__((visibility("default")))
/* EB_API int eb_in_a_comment(void); */
EB_API int eb_open(const char *directory);
EB_API const char *eb_version(void);
"""

SOURCE = """
#include "edgebit.h"
void *memcpy(void *to, const void *from, unsigned long bytes);
extern void eb_fake_kernel(int *value);
extern const unsigned char eb_model_plan[32];
int eb_open(const char *directory) {
  int value;
  memcpy(&value, directory, sizeof value);
  eb_fake_kernel(&value);
  return value + eb_model_plan[value & 31];
}
const char *eb_version(void) { return __FILE__; }
"""

PROGRAM = """
#include <stdio.h>
#include <edgebit.h>
int main(int count, char **arguments) {
  (void)count;
  printf("%d %s", eb_open(arguments[0]), eb_version());
  return 0;
}
"""

KERNEL = "void eb_fake_kernel(int *value) { *value += 1; }"


def plan_source(weights_id: bytes) -> str:
    return f"const unsigned char eb_model_plan[32] = {{{', '.join(map(str, weights_id))}}};\n"


def write_native(folder: Path, source: str = SOURCE, header: str = HEADER) -> Path:
    """A runtime; the program around it lies in `program` beside it."""
    folder.mkdir(parents=True)
    (folder / "edgebit.h").write_text(header)
    (folder / "model.c").write_text(source)
    (folder / "compile_flags.txt").write_text(
        "-std=c11\n-O2\n-g0\n-fPIC\n-ffreestanding\n-fno-stack-protector\n-fno-sanitize=all\n-fvisibility=hidden\n"
    )
    program = folder.parent / "program"
    program.mkdir(parents=True)
    (program / "main.c").write_text(PROGRAM)
    (program / "compile_flags.txt").write_text("-std=c11\n-O2\n-fno-sanitize=all\n-I../native\n")
    return folder


@cache
def kernel_object(target: Target, code: str = KERNEL) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "kernel.c").write_text(code)
        flags = ["-target", target.zig_target, "-O2", "-g0", "-fPIC", "-fno-sanitize=all", "-c"]
        subprocess.run(
            [zig_executable(), "cc", *flags, "-o", "kernel.o", "kernel.c"],
            cwd=work,
            env=zig_environment(work),
            check=True,
        )
        return (work / "kernel.o").read_bytes()


@dataclass(frozen=True)
class FakeWeights:
    """A weights.bin of given bytes after its header; `fails` raises in the middle."""

    body: bytes = bytes(range(256)) * 16
    fails: bool = False

    @property
    def size(self) -> int:
        return 64 + len(self.body)

    def write(self, file: BinaryIO, advance: Callable[[int, int], None]) -> bytes:
        identity = hashlib.sha256(self.body).digest()
        file.write(struct.pack("<8sIIQ32s8x", b"EDGEBITW", 1, 0, self.size, identity))
        file.write(self.body[:100])
        if self.fails:
            raise ModelError("model.safetensors: tensor q_proj: code 3 in row 7")
        file.write(self.body[100:])
        advance(self.size, self.size)
        return identity


@dataclass(frozen=True)
class FakeModel:
    """A compiled model as edgebit.bundle.write sees it."""

    task: str = "generate"
    target: Target = field(default_factory=host_target)
    weights: FakeWeights = field(default_factory=FakeWeights)
    model_facts: dict[str, str | int] = field(default_factory=lambda: {"name": "tiny", "layers": 2})
    plan_summary: dict[str, int] = field(default_factory=lambda: {"decode_steps": 3})
    memory: dict[str, int] = field(default_factory=lambda: {"weights": 4160, "cache": 1 << 20})

    @property
    def objects(self) -> dict[str, list[bytes]]:
        return {"fake": [kernel_object(self.target)]}

    def plan_source(self, weights_id: bytes) -> str:
        return plan_source(weights_id)
