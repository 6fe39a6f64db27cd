"""The native model and one session of it, with Python's types and one-line errors instead of codes."""

from __future__ import annotations

import ctypes
import os
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from .arguments import is_whole
from .errors import ContextFullError, RuntimeModelError
from .library import (
    ERROR_CONTEXT,
    MESSAGE_SIZE,
    HeadStatsStruct,
    Info,
    SpeculationStatsStruct,
    StepTime,
    TensorInfoStruct,
    bind,
)
from .sampling import Sampling
from .stats import HeadStats, SpeculationStats
from .tensors import FORMATS, TensorInfo
from .text import OpenModel, Text, check_ids, sentence
from .turn import Turn, in_turn

LIBRARY = "libmodel.so"
DECODE, PREFILL, HEAD, RUN = 0, 1, 2, 3  # phases of the plan
MOST_AT_ONCE = 8  # tokens that one call of `generate` gives
MOST_THREADS = 256
TASK_GENERATE, TASK_EMBED, TASK_RUN = "generate", "embed", "run"
TASKS = (TASK_GENERATE, TASK_EMBED, TASK_RUN)  # in the order of enum eb_task


@dataclass(frozen=True)
class ModelInfo:
    """Facts of an open model; sizes in bytes."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    context: int  # tokens a conversation can hold
    chunk: int  # tokens of a prompt evaluated together
    weights_bytes: int
    arena_bytes: int
    cache_bytes: int
    tier: str  # kernels in use
    threads: int
    task: str = TASK_GENERATE  # what the model is for
    inputs: Tuple[TensorInfo, ...] = ()  # of a graph of tensors
    outputs: Tuple[TensorInfo, ...] = ()


class Engine:
    """libmodel.so of a bundle folder with one session. Raises RuntimeModelError with the native sentence."""

    def __init__(self, folder: Path, threads: Optional[int] = None, library: Optional[Path] = None) -> None:
        """`library`: another build of the same model's than the one in the folder."""
        self._session: Optional[int] = None
        self.turn = Turn()
        check_threads(threads)
        self._library = bind(str(library or folder.resolve() / LIBRARY))
        message = ctypes.create_string_buffer(MESSAGE_SIZE)
        handle = self._library.eb_open(os.fsencode(folder), message, MESSAGE_SIZE)
        if not handle:
            raise RuntimeModelError(sentence(message))
        model = OpenModel(self._library, handle)
        self._session = self._library.eb_session_open(handle, threads or 0, message, MESSAGE_SIZE)
        if not self._session:
            raise RuntimeModelError(sentence(message))
        self.info = self._read_info(handle)
        self.text = Text(self._library, model, self.info.vocab_size)

    def _read_info(self, model: int) -> ModelInfo:
        info = Info()
        self._library.eb_info(model, info)
        return ModelInfo(
            vocab_size=info.vocab_size,
            hidden_size=info.hidden_size,
            num_layers=info.num_layers,
            context=info.context,
            chunk=info.chunk,
            weights_bytes=info.weights_bytes,
            arena_bytes=info.arena_bytes,
            cache_bytes=info.cache_bytes,
            tier=self._library.eb_tier_name(model).decode(),
            threads=self._library.eb_threads(self._session),
            task=TASKS[info.task],
            inputs=self._tensors(model, "input"),
            outputs=self._tensors(model, "output"),
        )

    def _tensors(self, model: int, kind: str) -> Tuple[TensorInfo, ...]:
        """What the library knows of its inputs or outputs."""
        found = []
        for index in range(getattr(self._library, f"eb_{kind}_count")(model)):
            info = TensorInfoStruct()
            getattr(self._library, f"eb_{kind}_info")(model, index, info)
            shape = tuple(info.shape[: info.rank])
            found.append(TensorInfo(info.name.decode("utf-8"), list(FORMATS)[info.dtype], shape))
        return tuple(found)

    @in_turn
    def close(self) -> None:
        """Gives memory and threads back. May be called twice."""
        session, self._session = self._session, None
        if session:
            self._library.eb_session_close(session)
            self.text.close()

    def __del__(self) -> None:
        if hasattr(self, "text"):
            self.close()

    def _open(self) -> int:
        """The session's handle."""
        if not self._session:
            raise RuntimeModelError("the model is closed")
        return self._session

    # ---- evaluation ------------------------------------------------------------------------------

    def _check(self, code: int) -> int:
        if code >= 0:
            return code
        sentence = self._library.eb_session_error(self._open()).decode("utf-8", "replace")
        raise (ContextFullError if code == ERROR_CONTEXT else RuntimeModelError)(sentence)

    @in_turn
    def evaluate(self, ids: Sequence[int]) -> None:
        """Appends tokens; the logits of the last one are ready for `sample` afterwards."""
        self._check(self._library.eb_evaluate(self._open(), self._ids(ids), len(ids)))

    @in_turn
    def append(self, ids: Sequence[int]) -> None:
        """Appends tokens without logits."""
        self._check(self._library.eb_append(self._open(), self._ids(ids), len(ids)))

    @in_turn
    def evaluate_all(self, ids: Sequence[int]) -> memoryview[float]:
        """Appends tokens; float32 logits [len(ids), vocab_size] of each."""
        shape = [len(ids), self.info.vocab_size]
        rows = bytearray(4 * shape[0] * shape[1])
        place = (ctypes.c_char * len(rows)).from_buffer(rows)
        self._check(self._library.eb_evaluate_all(self._open(), self._ids(ids), len(ids), place))
        del place
        return memoryview(rows).cast("f", shape)

    @in_turn
    def embed(self, ids: Sequence[int]) -> array[float]:
        """The embedding of a text: hidden_size float32 numbers, together of length 1."""
        embedding = array("f", bytes(4 * self.info.hidden_size))
        place = (ctypes.c_char * (4 * self.info.hidden_size)).from_buffer(embedding)
        self._check(self._library.eb_embed(self._open(), self._ids(ids), len(ids), place))
        return embedding

    @in_turn
    def run(self, inputs: Sequence[bytes]) -> List[bytearray]:
        """The outputs of a graph, dense, for the bytes of its inputs, each of the size it should have."""
        outputs = [bytearray(info.size) for info in self.info.outputs]
        places = [(ctypes.c_char * len(data)).from_buffer(data) for data in outputs]
        pointers = [(ctypes.c_void_p * len(each))() for each in (inputs, outputs)]
        held = [ctypes.c_char_p(data) for data in inputs]
        for i, data in enumerate(held):
            pointers[0][i] = ctypes.cast(data, ctypes.c_void_p)
        for i, place in enumerate(places):
            pointers[1][i] = ctypes.addressof(place)
        self._check(self._library.eb_run(self._open(), *pointers))
        return outputs

    @in_turn
    def logits(self) -> bytes:
        """float32 logits [vocab_size] of the token evaluated last, as they lie in memory."""
        place = self._library.eb_logits(self._open())
        if not place:
            raise RuntimeModelError("there are no logits: evaluate a token first")
        return ctypes.string_at(place, 4 * self.info.vocab_size)

    @property
    @in_turn
    def position(self) -> int:
        return int(self._library.eb_position(self._open()))

    @in_turn
    def rewind(self, position: int) -> None:
        self._check(self._library.eb_rewind(self._open(), position))

    @in_turn
    def sample(self, sampling: Sampling) -> int:
        return self._check(self._library.eb_sample(self._open(), sampling.native()))

    @in_turn
    def generate(
        self, token: int, sampling: Sampling, speculate: bool, most: int = MOST_AT_ONCE
    ) -> List[int]:
        """Appends `token` and samples 1 to `most` tokens behind it; all but the last are appended too.

        With `speculate` there may be several: the same ones that would be sampled one by one.
        """
        check_ids([token], self.info.vocab_size)
        most = min(most, MOST_AT_ONCE)
        tokens = (ctypes.c_int32 * most)()
        count = self._check(
            self._library.eb_generate(self._open(), token, sampling.native(), speculate, tokens, most)
        )
        return tokens[:count]

    # ---- speed -----------------------------------------------------------------------------------

    @in_turn
    def profile(self, on: bool) -> None:
        """Times every step from now on, from zero; or stops."""
        self._library.eb_profile(self._open(), on)

    @in_turn
    def step_times(self, phase: int) -> List[Tuple[int, float]]:
        """(calls, seconds) of each step of a phase (DECODE, PREFILL, HEAD) since `profile(True)`."""
        count = self._check(self._library.eb_profile_times(self._open(), phase, None, 0))
        times = (StepTime * count)()
        self._check(self._library.eb_profile_times(self._open(), phase, times, count))
        return [(time.calls, time.nanoseconds * 1e-9) for time in times]

    @in_turn
    def read_weights(self, offset: int, size: int, times: int) -> float:
        """Seconds in which all threads together read a part of weights.bin `times` times."""
        return self._check(self._library.eb_read_weights(self._open(), offset, size, times)) * 1e-9

    @in_turn
    def read_memory(self, size: int, times: int) -> float:
        """Seconds in which all threads together read `size` bytes of new memory `times` times."""
        return self._check(self._library.eb_read_memory(self._open(), size, times)) * 1e-9

    @in_turn
    def speculation_stats(self) -> SpeculationStats:
        stats = SpeculationStatsStruct()
        self._library.eb_session_speculation_stats(self._open(), stats)
        return SpeculationStats(stats.passes, stats.tokens, stats.drafted, stats.accepted)

    @in_turn
    def head_stats(self) -> HeadStats:
        stats = HeadStatsStruct()
        self._library.eb_session_head_stats(self._open(), stats)
        return HeadStats(
            queries=stats.queries,
            fallbacks=stats.fallbacks,
            survivors=stats.survivors,
            last_survivors=stats.last_survivors,
            computed_rows=stats.computed_rows,
            full_passes=stats.full_passes,
            refined_rows=stats.refined_rows,
        )

    def _ids(self, ids: Sequence[int]) -> Any:
        check_ids(ids, self.info.vocab_size)
        return (ctypes.c_int32 * len(ids))(*ids)


def check_threads(threads: Any) -> None:
    """Raises RuntimeModelError. Here and not in the library: C would cut a number to 32 bits first."""
    if threads is None or (is_whole(threads) and 0 <= threads <= MOST_THREADS):
        return
    raise RuntimeModelError(f"{threads!r} threads: expected 1 to {MOST_THREADS}, or 0 for one per CPU")
