"""libmodel.so through ctypes: the functions of native/edgebit.h, their types in one table."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Dict, List, Tuple

from .errors import RuntimeModelError

API_MAJOR = "1"
ERROR_CONTEXT = -3
MESSAGE_SIZE = 512
ADD_BOS = 1
PARSE_SPECIAL = 2
ADD_EOS = 4


class Info(ctypes.Structure):
    """eb_model_info."""

    _fields_ = [
        ("vocab_size", c_int32),
        ("hidden_size", c_int32),
        ("num_layers", c_int32),
        ("context", c_int32),
        ("chunk", c_int32),
        ("task", c_int32),
        ("weights_bytes", c_uint64),
        ("arena_bytes", c_uint64),
        ("cache_bytes", c_uint64),
        ("scratch_bytes", c_uint64),
    ]


class TensorInfoStruct(ctypes.Structure):
    """eb_tensor_info."""

    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("shape", c_int64 * 8),
        ("bytes", c_uint64),
    ]


class SamplingStruct(ctypes.Structure):
    """eb_sampling."""

    _fields_ = [
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("seed", c_uint64),
    ]


class SpeculationStatsStruct(ctypes.Structure):
    """eb_speculation_stats."""

    _fields_ = [(name, c_uint64) for name in ("passes", "tokens", "drafted", "accepted")]


class StepTime(ctypes.Structure):
    """eb_step_time."""

    _fields_ = [("calls", c_uint64), ("nanoseconds", c_uint64)]


class HeadStatsStruct(ctypes.Structure):
    """eb_head_stats."""

    _fields_ = [
        ("queries", c_uint64),
        ("fallbacks", c_uint64),
        ("survivors", c_uint64),
        ("last_survivors", c_uint64),
        ("computed_rows", c_uint64),
        ("full_passes", c_uint64),
        ("refined_rows", c_uint64),
    ]


TraceFunction = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_int32)

MODEL = SESSION = POINTER_TO_FLOATS = c_void_p
IDS = POINTER(c_int32)
TEXTS = POINTER(c_char_p)
BUFFERS = POINTER(c_void_p)
MESSAGE = c_char_p

#: name: (result, arguments)
FUNCTIONS = {
    "eb_open": (MODEL, [c_char_p, MESSAGE, c_int32]),
    "eb_close": (None, [MODEL]),
    "eb_info": (None, [MODEL, POINTER(Info)]),
    "eb_tier_name": (c_char_p, [MODEL]),
    "eb_version": (c_char_p, []),
    "eb_session_open": (SESSION, [MODEL, c_int32, MESSAGE, c_int32]),
    "eb_session_close": (None, [SESSION]),
    "eb_threads": (c_int32, [SESSION]),
    "eb_evaluate": (c_int32, [SESSION, IDS, c_int32]),
    "eb_append": (c_int32, [SESSION, IDS, c_int32]),
    "eb_evaluate_all": (c_int32, [SESSION, IDS, c_int32, POINTER_TO_FLOATS]),
    "eb_logits": (POINTER(c_float), [SESSION]),
    "eb_position": (c_int32, [SESSION]),
    "eb_rewind": (c_int32, [SESSION, c_int32]),
    "eb_sample": (c_int32, [SESSION, POINTER(SamplingStruct)]),
    "eb_generate": (c_int32, [SESSION, c_int32, POINTER(SamplingStruct), c_int32, IDS, c_int32]),
    "eb_embed": (c_int32, [SESSION, IDS, c_int32, POINTER_TO_FLOATS]),
    "eb_input_count": (c_int32, [MODEL]),
    "eb_output_count": (c_int32, [MODEL]),
    "eb_input_info": (c_int32, [MODEL, c_int32, POINTER(TensorInfoStruct)]),
    "eb_output_info": (c_int32, [MODEL, c_int32, POINTER(TensorInfoStruct)]),
    "eb_run": (c_int32, [SESSION, BUFFERS, BUFFERS]),
    "eb_session_speculation_stats": (None, [SESSION, POINTER(SpeculationStatsStruct)]),
    "eb_session_head_stats": (None, [SESSION, POINTER(HeadStatsStruct)]),
    "eb_session_error": (c_char_p, [SESSION]),
    "eb_tokenize": (c_int32, [MODEL, c_char_p, c_int32, c_int32, IDS, c_int32]),
    "eb_token_bytes": (c_int32, [MODEL, c_int32, c_char_p, c_int32]),
    "eb_first_token_bytes": (c_int32, [MODEL, c_int32, c_char_p, c_int32]),
    "eb_is_stop": (c_int32, [MODEL, c_int32]),
    "eb_is_special": (c_int32, [MODEL, c_int32]),
    "eb_chat_tokens": (c_int32, [MODEL, TEXTS, TEXTS, c_int32, c_int32, IDS, c_int32, MESSAGE, c_int32]),
    "eb_trace": (None, [SESSION, TraceFunction, c_void_p]),
    "eb_profile": (None, [SESSION, c_int32]),
    "eb_profile_times": (c_int32, [SESSION, c_int32, POINTER(StepTime), c_int32]),
    "eb_read_weights": (c_int64, [SESSION, c_uint64, c_uint64, c_int32]),
    "eb_read_memory": (c_int64, [SESSION, c_uint64, c_int32]),
    "eb_space_base": (c_void_p, [SESSION, c_int32]),
}


_files: Dict[str, List[Tuple[int, int, int]]] = {}  # path: device, inode and time of each file that was there


def _spelling(path: str) -> str:
    """The path in a form that no other file was loaded by: glibc takes a path that it knows for the file that
    it loaded from there, though a bundle may have been replaced since.
    """
    place = Path(path)
    status = place.stat()
    file = (status.st_dev, status.st_ino, status.st_mtime_ns)
    known = _files.setdefault(path, [])
    if file not in known:
        known.append(file)
    return f"{place.parent}/{'./' * known.index(file)}{place.name}"


def bind(path: str) -> ctypes.CDLL:
    """Loads libmodel.so and types its functions.

    Raises RuntimeModelError with the loader's reason, or where the library is of another edgebit.
    """
    try:
        library = ctypes.CDLL(_spelling(path))
    except OSError as error:
        raise RuntimeModelError(f"{path} cannot be loaded: {error}") from error
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name, None)
        if function is None:
            raise RuntimeModelError(f"{path} is of another edgebit, without {name}: compile the model again")
        function.restype = result
        function.argtypes = arguments
    version = library.eb_version().decode()
    if version.split(".")[0] != API_MAJOR:
        raise RuntimeModelError(f"{path} has API {version}, this loader {API_MAJOR}: copy the bundle again")
    return library
