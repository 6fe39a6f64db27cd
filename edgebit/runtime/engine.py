"""The native model and one session of it, with Python's types and one-line errors instead of codes."""

from __future__ import annotations

import ctypes
import os
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

from .errors import ContextFullError, RuntimeModelError
from .library import (
    ADD_BOS,
    ADD_EOS,
    ERROR_CONTEXT,
    MESSAGE_SIZE,
    PARSE_SPECIAL,
    HeadStatsStruct,
    Info,
    SamplingStruct,
    SpeculationStatsStruct,
    StepTime,
    TensorInfoStruct,
    bind,
)
from .stats import HeadStats, SpeculationStats
from .tensors import FORMATS, TensorInfo

LIBRARY = "libmodel.so"
DECODE, PREFILL, HEAD, RUN = 0, 1, 2, 3  # phases of the plan
MOST_AT_ONCE = 8  # tokens that one call of `generate` gives
LARGEST_INT32 = 2**31 - 1
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


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. temperature 0: the most likely one."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise RuntimeModelError(f"temperature {self.temperature}: expected a number from 0 up")
        if not 0 <= self.top_k <= LARGEST_INT32:
            raise RuntimeModelError(f"top_k {self.top_k}: expected 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise RuntimeModelError(f"top_p {self.top_p}: expected a number above 0, up to 1")
        if not 0 <= self.min_p <= 1:
            raise RuntimeModelError(f"min_p {self.min_p}: expected a number from 0 (all tokens) to 1")


class Engine:
    """libmodel.so of a bundle folder with one session. Raises RuntimeModelError with the native sentence."""

    def __init__(self, folder: Path, threads: Optional[int] = None, library: Optional[Path] = None) -> None:
        """`library`: another build of the same model's than the one in the folder."""
        self._model: Optional[int] = None
        self._session: Optional[int] = None
        self._library = bind(str(library or folder.resolve() / LIBRARY))
        message = ctypes.create_string_buffer(MESSAGE_SIZE)
        self._model = self._library.eb_open(os.fsencode(folder), message, MESSAGE_SIZE)
        if not self._model:
            raise RuntimeModelError(_sentence(message))
        self._session = self._library.eb_session_open(self._model, threads or 0, message, MESSAGE_SIZE)
        if not self._session:
            self.close()
            raise RuntimeModelError(_sentence(message))
        self.info = self._read_info()

    def _read_info(self) -> ModelInfo:
        info = Info()
        self._library.eb_info(self._model, info)
        return ModelInfo(
            vocab_size=info.vocab_size,
            hidden_size=info.hidden_size,
            num_layers=info.num_layers,
            context=info.context,
            chunk=info.chunk,
            weights_bytes=info.weights_bytes,
            arena_bytes=info.arena_bytes,
            cache_bytes=info.cache_bytes,
            tier=self._library.eb_tier_name(self._model).decode(),
            threads=self._library.eb_threads(self._session),
            task=TASKS[info.task],
            inputs=self._tensors("input"),
            outputs=self._tensors("output"),
        )

    def _tensors(self, kind: str) -> Tuple[TensorInfo, ...]:
        """What the library knows of its inputs or outputs."""
        found = []
        for index in range(getattr(self._library, f"eb_{kind}_count")(self._model)):
            info = TensorInfoStruct()
            getattr(self._library, f"eb_{kind}_info")(self._model, index, info)
            shape = tuple(info.shape[: info.rank])
            found.append(TensorInfo(info.name.decode("utf-8"), list(FORMATS)[info.dtype], shape))
        return tuple(found)

    def close(self) -> None:
        """Gives memory and threads back. May be called twice."""
        session, model = self._session, self._model
        self._session = self._model = None
        if session:
            self._library.eb_session_close(session)
        if model:
            self._library.eb_close(model)

    def __del__(self) -> None:
        if hasattr(self, "_library"):
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

    def evaluate(self, ids: Sequence[int]) -> None:
        """Appends tokens; the logits of the last one are ready for `sample` afterwards."""
        self._check(self._library.eb_evaluate(self._open(), self._ids(ids), len(ids)))

    def append(self, ids: Sequence[int]) -> None:
        """Appends tokens without logits."""
        self._check(self._library.eb_append(self._open(), self._ids(ids), len(ids)))

    def evaluate_all(self, ids: Sequence[int]) -> memoryview[float]:
        """Appends tokens; float32 logits [len(ids), vocab_size] of each."""
        shape = [len(ids), self.info.vocab_size]
        rows = bytearray(4 * shape[0] * shape[1])
        place = (ctypes.c_char * len(rows)).from_buffer(rows)
        self._check(self._library.eb_evaluate_all(self._open(), self._ids(ids), len(ids), place))
        del place
        return memoryview(rows).cast("f", shape)

    def embed(self, ids: Sequence[int]) -> array[float]:
        """The embedding of a text: hidden_size float32 numbers, together of length 1."""
        embedding = array("f", bytes(4 * self.info.hidden_size))
        place = (ctypes.c_char * (4 * self.info.hidden_size)).from_buffer(embedding)
        self._check(self._library.eb_embed(self._open(), self._ids(ids), len(ids), place))
        return embedding

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

    def logits(self) -> bytes:
        """float32 logits [vocab_size] of the token evaluated last, as they lie in memory."""
        place = self._library.eb_logits(self._open())
        if not place:
            raise RuntimeModelError("there are no logits: evaluate a token first")
        return ctypes.string_at(place, 4 * self.info.vocab_size)

    @property
    def position(self) -> int:
        return int(self._library.eb_position(self._open()))

    def rewind(self, position: int) -> None:
        self._check(self._library.eb_rewind(self._open(), position))

    def sample(self, sampling: Sampling) -> int:
        return self._check(self._library.eb_sample(self._open(), _native(sampling)))

    def generate(
        self, token: int, sampling: Sampling, speculate: bool, most: int = MOST_AT_ONCE
    ) -> List[int]:
        """Appends `token` and samples 1 to `most` tokens behind it; all but the last are appended too.

        With `speculate` there may be several: the same ones that would be sampled one by one.
        """
        self._check_ids([token])
        most = min(most, MOST_AT_ONCE)
        tokens = (ctypes.c_int32 * most)()
        count = self._check(
            self._library.eb_generate(self._open(), token, _native(sampling), speculate, tokens, most)
        )
        return tokens[:count]

    # ---- speed -----------------------------------------------------------------------------------

    def profile(self, on: bool) -> None:
        """Times every step from now on, from zero; or stops."""
        self._library.eb_profile(self._open(), on)

    def step_times(self, phase: int) -> List[Tuple[int, float]]:
        """(calls, seconds) of each step of a phase (DECODE, PREFILL, HEAD) since `profile(True)`."""
        count = self._check(self._library.eb_profile_times(self._open(), phase, None, 0))
        times = (StepTime * count)()
        self._check(self._library.eb_profile_times(self._open(), phase, times, count))
        return [(time.calls, time.nanoseconds * 1e-9) for time in times]

    def read_weights(self, offset: int, size: int, times: int) -> float:
        """Seconds in which all threads together read a part of weights.bin `times` times."""
        return self._check(self._library.eb_read_weights(self._open(), offset, size, times)) * 1e-9

    def read_memory(self, size: int, times: int) -> float:
        """Seconds in which all threads together read `size` bytes of new memory `times` times."""
        return self._check(self._library.eb_read_memory(self._open(), size, times)) * 1e-9

    def speculation_stats(self) -> SpeculationStats:
        stats = SpeculationStatsStruct()
        self._library.eb_session_speculation_stats(self._open(), stats)
        return SpeculationStats(stats.passes, stats.tokens, stats.drafted, stats.accepted)

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

    # ---- text ------------------------------------------------------------------------------------

    def tokenize(self, text: str, add_bos: bool, special: bool, add_eos: bool = False) -> List[int]:
        self._open()
        data = text.encode("utf-8", "replace")
        flags = (ADD_BOS * add_bos) | (ADD_EOS * add_eos) | (PARSE_SPECIAL * special)
        capacity = len(data) + 8

        def call(ids: Any, room: int) -> int:
            return int(self._library.eb_tokenize(self._model, data, len(data), flags, ids, room))

        return _collect(call, capacity, lambda: "the text cannot be tokenized: this model has no tokenizer")

    def chat_tokens(self, messages: Sequence[Tuple[str, str]], generation_prompt: bool) -> List[int]:
        """Tokens of (role, content) messages in the model's chat format."""
        self._open()
        for role, content in messages:
            if "\0" in role or "\0" in content:
                raise RuntimeModelError("a message contains a NUL character")
        count = len(messages)
        roles = (ctypes.c_char_p * count)(*[role.encode("utf-8", "replace") for role, _ in messages])
        contents = (ctypes.c_char_p * count)(*[text.encode("utf-8", "replace") for _, text in messages])
        message = ctypes.create_string_buffer(MESSAGE_SIZE)

        def call(ids: Any, room: int) -> int:
            return int(
                self._library.eb_chat_tokens(
                    self._model, roles, contents, count, generation_prompt, ids, room, message, MESSAGE_SIZE
                )
            )

        capacity = sum(len(text) for text in contents if text) + 32 * (count + 1)
        return _collect(call, capacity, lambda: _sentence(message))

    def token_bytes(self, token: int, begins: bool = False) -> bytes:
        """The bytes of one token: not always whole characters. begins: a text begins with it; then without
        the space that some tokenizers put in front of a text.
        """
        self._check_ids([token])
        library = self._library
        function = library.eb_first_token_bytes if begins else library.eb_token_bytes
        room = 64
        while True:
            data = ctypes.create_string_buffer(room)
            needed = int(function(self._model, token, data, room))
            if needed < 0:
                raise RuntimeModelError(f"token {token} has no text: this model has no tokenizer")
            if needed <= room:
                return data.raw[:needed]
            room = needed

    def is_stop(self, token: int) -> bool:
        self._check_ids([token])
        return bool(self._library.eb_is_stop(self._model, token))

    def is_special(self, token: int) -> bool:
        self._check_ids([token])
        return bool(self._library.eb_is_special(self._model, token))

    def _check_ids(self, ids: Sequence[int]) -> None:
        """Here and not in the library: C would cut a number to 32 bits first."""
        self._open()
        for token in ids:
            if not 0 <= token < self.info.vocab_size:
                largest = self.info.vocab_size - 1
                raise RuntimeModelError(f"token {token} is not in the vocabulary: ids are 0 to {largest}")

    def _ids(self, ids: Sequence[int]) -> Any:
        self._check_ids(ids)
        return (ctypes.c_int32 * len(ids))(*ids)


def _collect(call: Callable[[Any, int], int], capacity: int, reason: Callable[[], str]) -> List[int]:
    """Ids of a native call that tells how many there are; `reason` is the sentence of a failure."""
    while True:
        ids = (ctypes.c_int32 * capacity)()
        needed = call(ids, capacity)
        if needed < 0:
            raise RuntimeModelError(reason())
        if needed <= capacity:
            return list(ids[:needed])
        capacity = needed


def _native(sampling: Sampling) -> SamplingStruct:
    seed = sampling.seed & (2**64 - 1)
    return SamplingStruct(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, seed)


def _sentence(message: Any) -> str:
    return str(message.value.decode("utf-8", "replace")) or "the native library gives no reason"
