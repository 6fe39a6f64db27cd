"""The runtime with the toy plan of native/toy_plan.c: a library built once, weights, the model in Python."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from edgebit.runtime import library as runtime_library

NATIVE = Path(runtime_library.__file__).resolve().parent / "native"
HERE = Path(__file__).resolve().parent / "native"
VOCAB, CONTEXT, CHUNK = 320, 48, 6
WEIGHTS = [(i * 2654435761 + 12345) % 65536 for i in range(VOCAB)]
ZIG = (sys.executable, "-m", "ziglang", "cc")
_KEEP: list[tempfile.TemporaryDirectory[str]] = []


def toy_weights(
    magic: bytes = b"EDGEBITW",
    version: int = 1,
    first_id_byte: int = 1,
    spare: int = 0,
    followers: Mapping[int, int] | None = None,
) -> bytes:
    """weights.bin of the toy plan, or a garbled one. followers: {token: the likeliest next one}."""
    table = [(followers or {}).get(token, 2**32 - 1) for token in range(VOCAB)]
    body = struct.pack(f"<{2 * VOCAB}I", *WEIGHTS, *table)
    body += b"".join(struct.pack("<64H", token, *[0] * 63) for token in range(VOCAB))
    header_id = bytes([first_id_byte, *range(2, 33)])
    return struct.pack("<8sIIQ32s8x", magic, version, 0, 64 + len(body) + spare, header_id) + body


def toy_logits(tokens: Sequence[int]) -> list[list[float]]:
    """What the toy model without followers must answer after each token."""
    rows, hidden = [], 0
    for position, token in enumerate(tokens):
        hidden = (hidden + (position + 1) * WEIGHTS[token]) % 2**32
        rows.append([float((hidden * 31 + v * 7 + position) % 2**32 % 1009) for v in range(VOCAB)])
    return rows


def compile_flags() -> list[str]:
    return (NATIVE / "compile_flags.txt").read_text().split()


def build(output: Path, *flags: str, compiler: Sequence[str] = ZIG, probe: bool = True) -> Path:
    """Compiles the runtime, the toy plan and the probe into one shared library."""
    probes = [HERE / f"{name}.c" for name in ("probe", "head_probe", "head_kernels")]
    sources = [*sorted(NATIVE.glob("*.c")), HERE / "toy_plan.c", *(probes if probe else [])]
    command = [*compiler, *compile_flags(), "-Werror", f"-I{NATIVE}"]
    result = subprocess.run(
        [*command, *flags, "-shared", "-o", str(output), *map(str, sources), "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return output


@cache
def toy_library_path() -> Path:
    """Built once a run; EDGEBIT_TOY_LIBRARY names another build of it (with sanitizers)."""
    if "EDGEBIT_TOY_LIBRARY" in os.environ:
        return Path(os.environ["EDGEBIT_TOY_LIBRARY"])
    folder = tempfile.TemporaryDirectory(prefix="edgebit-toy-")
    _KEEP.append(folder)
    return build(Path(folder.name) / "libmodel.so")


@cache
def toy_library() -> ctypes.CDLL:
    library = runtime_library.bind(str(toy_library_path()))
    library.eb_probe_tier.restype = ctypes.c_char_p
    library.eb_probe_tier.argtypes = [ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int32]
    library.eb_probe_reading.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int32]
    library.eb_probe_reading.restype = ctypes.c_int64
    library.eb_probe_features.restype = ctypes.c_uint64
    library.eb_probe_float_mode.restype = ctypes.c_uint64
    library.eb_probe_float_modes.argtypes = [ctypes.c_uint64, ctypes.c_int32, ctypes.POINTER(ctypes.c_uint64)]
    library.eb_probe_message.argtypes = [
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_uint64,
    ]
    return library


def ids(tokens: Sequence[int]) -> ctypes.Array[ctypes.c_int32]:
    return (ctypes.c_int32 * len(tokens))(*tokens)


class Toy:
    """An open toy model and one session of it."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self.library = toy_library()
        self.error = ctypes.create_string_buffer(256)
        self.model = self.library.eb_open(str(folder).encode(), self.error, 256)
        assert self.model, self.error.value.decode()
        self.session = self.library.eb_session_open(self.model, threads, self.error, 256)
        assert self.session, self.error.value.decode()

    def evaluate(self, tokens: Sequence[int]) -> int:
        return int(self.library.eb_evaluate(self.session, ids(tokens), len(tokens)))

    def evaluate_all(self, tokens: Sequence[int]) -> list[list[float]]:
        rows = ((ctypes.c_float * VOCAB) * len(tokens))()
        result = self.library.eb_evaluate_all(self.session, ids(tokens), len(tokens), rows)
        assert result == 0, self.sentence()
        return [list(row) for row in rows]

    def logits(self) -> list[float] | None:
        pointer = self.library.eb_logits(self.session)
        return pointer[:VOCAB] if pointer else None

    def sample(self, **settings: float) -> int:
        return int(self.library.eb_sample(self.session, runtime_library.SamplingStruct(**settings)))

    def position(self) -> int:
        return int(self.library.eb_position(self.session))

    def rewind(self, position: int) -> int:
        return int(self.library.eb_rewind(self.session, position))

    def sentence(self) -> str:
        return bytes(self.library.eb_session_error(self.session)).decode()

    def close(self) -> None:
        self.library.eb_session_close(self.session)
        self.library.eb_close(self.model)
