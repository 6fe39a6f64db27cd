"""An lm_head alone: a table of any kind, hidden states of the test, the runtime of native/head.c."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

import ml_dtypes
import numpy as np
import numpy.typing as npt

from edgebit.compiler.head_components import calibrate
from edgebit.compiler.head_planes import PlanePacker
from edgebit.compiler.head_s4 import S4Packer
from edgebit.runtime.library import HeadStatsStruct, SamplingStruct
from tests.runtime.builders import toy_library

FULL, EXACT, INT8, S4 = range(4)
# head_kernels.h
HEAD_ROWS, HEAD_SCREEN, HEAD_SCREEN_U4, LM_HEAD_ROWS, LM_HEAD_BF16, LM_HEAD_INT8, QUANTIZE = range(7)
NOT_FOUND = -100

Bits = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]


class HeadStruct(ctypes.Structure):
    """eb_head of plan.h."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("kind", "width", "plane_width")),
        *((name, ctypes.c_uint32) for name in ("lm_head", "rows", "screen", "screen_codes", "quantize")),
        *((name, ctypes.c_uint64) for name in ("hidden", "table", "scales")),
        *((name, ctypes.c_uint64) for name in ("plane1", "plane2", "bounds", "escape_index")),
        *((name, ctypes.c_uint64) for name in ("escapes", "outliers", "components", "sigma")),
        *((name, ctypes.c_uint64) for name in ("codes", "code_bounds")),
    )


def bfloat16(x: npt.NDArray[np.floating]) -> Bits:
    return x.astype(ml_dtypes.bfloat16).view(np.uint16)


def widened(table: Bits) -> Floats:
    return (table.astype(np.uint32) << np.uint32(16)).view(np.float32)


def short(x: npt.NDArray[np.floating]) -> Floats:
    """With the 16 significant bits of a normalised hidden state."""
    bits = x.astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFFFF00)).view(np.float32)


def canonical_logits(table: Bits, hidden: Floats) -> Floats:
    """The dot products of a table with one hidden state, in the order of the lm_head kernels."""
    with np.errstate(all="ignore"):
        sums = np.zeros((len(table), 64), np.float32)
        for first in range(0, table.shape[1], 64):
            sums = sums + widened(table[:, first : first + 64]) * hidden[first : first + 64]
        while sums.shape[1] > 1:
            half = sums.shape[1] // 2
            sums = sums[:, :half] + sums[:, half:]
    return np.asarray(sums[:, 0])


@dataclass(frozen=True)
class Weights:
    """weights.bin as far as an lm_head reads it, a mapped file, and where its parts are."""

    data: npt.NDArray[np.uint8]
    file: IO[bytes]
    head: HeadStruct
    vocab_size: int


def place(sections: Mapping[str, bytes]) -> tuple[npt.NDArray[np.uint8], IO[bytes], dict[str, int]]:
    places, size = {}, 64
    for name, content in sections.items():
        places[name] = size
        size += -(-len(content) // 64) * 64
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the weights
    file.truncate(size)
    for name, content in sections.items():
        file.seek(places[name])
        file.write(content)
    file.flush()
    mapped = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
    return np.frombuffer(mapped, np.uint8), file, places


def full_weights(table: Bits) -> Weights:
    data, file, places = place({"table": table.tobytes()})
    return Weights(
        data, file, HeadStruct(kind=FULL, width=table.shape[1], lm_head=LM_HEAD_BF16, **places), len(table)
    )


def int8_weights(table: Bits) -> Weights:
    values = widened(table)
    scales = np.maximum(np.abs(values).max(axis=1), np.float32(1e-30)) / np.float32(127)
    codes = np.rint(values / scales[:, None]) + 128
    data, file, places = place({"table": codes.astype(np.uint8).tobytes(), "scales": scales.tobytes()})
    head = HeadStruct(kind=INT8, width=table.shape[1], lm_head=LM_HEAD_INT8, quantize=QUANTIZE, **places)
    return Weights(data, file, head, len(table))


def exact_weights(table: Bits, calibration: Floats) -> Weights:
    """Planes of a table whose components are those of some hidden states."""
    return _screened(table, calibration, EXACT)


def s4_weights(table: Bits, calibration: Floats) -> Weights:
    """The same with codes of 4 bits."""
    return _screened(table, calibration, S4)


def _screened(table: Bits, calibration: Floats, kind: int) -> Weights:

    def read() -> npt.NDArray[ml_dtypes.bfloat16]:
        return table.view(ml_dtypes.bfloat16)

    components = calibrate(calibration, read)
    packer = PlanePacker("table", *table.shape, read, components)
    made = packer.sections()
    if kind == S4:
        made |= S4Packer("table", *table.shape, read, components).sections()
    sections = {name: b"".join(chunks()) for name, (_size, chunks) in made.items()}
    data, file, places = place(sections)
    head = HeadStruct(
        kind=kind,
        width=table.shape[1],
        plane_width=packer.width,
        lm_head=LM_HEAD_ROWS,
        rows=HEAD_ROWS,
        screen=HEAD_SCREEN,
        screen_codes=HEAD_SCREEN_U4,
        **places,
    )
    return Weights(data, file, head, len(table))


class LmHead:
    """An open lm_head with room for some hidden states [rows][width]."""

    def __init__(
        self, weights: Weights, hidden: Floats, threads: int = 1, file_is_readable: bool = True
    ) -> None:
        self.weights = weights
        self.library = toy_library()
        self.library.eb_probe_head_open.restype = ctypes.c_void_p
        memory = np.zeros(hidden.size + 16, np.float32)
        self.hidden = memory[-memory.ctypes.data % 64 // 4 :][: hidden.size].reshape(hidden.shape)
        self.hidden[:] = hidden
        self.scratch = np.zeros(weights.vocab_size, np.uint64)
        self.handle = ctypes.c_void_p(
            self.library.eb_probe_head_open(
                ctypes.byref(weights.head),
                weights.vocab_size,
                len(hidden),
                ctypes.c_void_p(weights.data.ctypes.data),
                ctypes.c_long(weights.file.fileno() if file_is_readable else -1),
                ctypes.c_void_p(self.hidden.ctypes.data),
                threads,
            )
        )

    def logits(self, first: int = 0, rows: int = 1) -> Floats:
        out = np.zeros((rows, self.weights.vocab_size), np.float32)
        self.library.eb_probe_head_logits(self.handle, first, rows, ctypes.c_void_p(out.ctypes.data))
        return out

    def choose(self, sampling: SamplingStruct, position: int = 0, row: int = 0) -> int:
        """The token found by screening, or NOT_FOUND."""
        scratch = ctypes.c_void_p(self.scratch.ctypes.data)
        return int(
            self.library.eb_probe_head_choose(self.handle, row, ctypes.byref(sampling), position, scratch)
        )

    def sample(self, logits: Floats, sampling: SamplingStruct, position: int = 0) -> int:
        """The token among all logits."""
        return int(
            self.library.eb_probe_sample(
                ctypes.c_void_p(logits.ctypes.data),
                len(logits),
                ctypes.byref(sampling),
                position,
                ctypes.c_void_p(self.scratch.ctypes.data),
            )
        )

    def bounds(self) -> tuple[Floats, Floats]:
        """Estimates and upper bounds of the last screening."""
        estimates, upper = np.zeros((2, self.weights.vocab_size), np.float32)
        self.library.eb_probe_head_bounds(
            self.handle, ctypes.c_void_p(estimates.ctypes.data), ctypes.c_void_p(upper.ctypes.data)
        )
        return estimates, upper

    def stats(self) -> HeadStatsStruct:
        stats = HeadStatsStruct()
        self.library.eb_probe_head_stats(self.handle, ctypes.byref(stats))
        return stats

    def close(self) -> None:
        self.library.eb_probe_head_close(self.handle)
