"""Small inputs for the bundle package: a runtime of one C file, a kernel, a model of no layers."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from edgebit.bundle.link import zig_environment, zig_executable
from edgebit.compiler.target import Target

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

KERNEL = "void eb_fake_kernel(int *value) { *value += 1; }"


def plan_source(weights_id: bytes) -> str:
    return f"const unsigned char eb_model_plan[32] = {{{', '.join(map(str, weights_id))}}};\n"


def write_native(folder: Path, source: str = SOURCE, header: str = HEADER) -> Path:
    folder.mkdir(parents=True)
    (folder / "edgebit.h").write_text(header)
    (folder / "model.c").write_text(source)
    (folder / "compile_flags.txt").write_text(
        "-std=c11\n-O2\n-g0\n-fPIC\n-ffreestanding\n-fno-stack-protector\n-fno-sanitize=all\n-fvisibility=hidden\n"
    )
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
