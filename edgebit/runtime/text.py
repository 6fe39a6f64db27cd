"""The text side of an open model: tokens of texts and conversations, the bytes of tokens."""

from __future__ import annotations

import ctypes
from typing import Any, Callable, List, Optional, Sequence, Tuple

from .arguments import is_whole
from .errors import RuntimeModelError
from .library import ADD_BOS, ADD_EOS, MESSAGE_SIZE, PARSE_SPECIAL


class OpenModel:
    """A handle of eb_open, closed when nobody has it any more: other threads may be in a call with it."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self.handle = handle

    def __del__(self) -> None:
        self._library.eb_close(self.handle)


class Text:
    """Calls of the library that need tokenizer.bin, by any number of threads at once.

    Raises RuntimeModelError with the native sentence.
    """

    def __init__(self, library: ctypes.CDLL, model: OpenModel, vocab_size: int) -> None:
        self._library = library
        self._model: Optional[OpenModel] = model
        self._vocab_size = vocab_size

    def close(self) -> None:
        self._model = None

    def _open(self) -> OpenModel:
        """To be held during a call."""
        model = self._model
        if model is None:
            raise RuntimeModelError("the model is closed")
        return model

    def tokenize(self, text: str, add_bos: bool, special: bool, add_eos: bool = False) -> List[int]:
        model, data = self._open(), _utf8(text)
        flags = (ADD_BOS * bool(add_bos)) | (ADD_EOS * add_eos) | (PARSE_SPECIAL * bool(special))

        def call(ids: Any, room: int) -> int:
            return int(self._library.eb_tokenize(model.handle, data, len(data), flags, ids, room))

        reason = "the text cannot be tokenized: this model has no tokenizer"
        return _collect(call, len(data) + 8, lambda: reason)

    def chat_tokens(self, messages: Sequence[Tuple[str, str]], generation_prompt: bool) -> List[int]:
        """Tokens of (role, content) messages in the model's chat format."""
        model = self._open()
        if any("\0" in role or "\0" in content for role, content in messages):
            raise RuntimeModelError("a message contains a NUL character")
        count = len(messages)
        roles = (ctypes.c_char_p * count)(*[_utf8(role) for role, _ in messages])
        contents = (ctypes.c_char_p * count)(*[_utf8(text) for _, text in messages])
        message = ctypes.create_string_buffer(MESSAGE_SIZE)

        def call(ids: Any, room: int) -> int:
            return int(
                self._library.eb_chat_tokens(
                    model.handle,
                    roles,
                    contents,
                    count,
                    bool(generation_prompt),
                    ids,
                    room,
                    message,
                    MESSAGE_SIZE,
                )
            )

        capacity = sum(len(text) for text in contents if text) + 32 * (count + 1)
        return _collect(call, capacity, lambda: sentence(message))

    def token_bytes(self, token: int, begins: bool = False) -> bytes:
        """The bytes of one token: not always whole characters. begins: a text begins with it; then without
        the space that some tokenizers put in front of a text.
        """
        model = self._open()
        check_ids([token], self._vocab_size)
        library = self._library
        function = library.eb_first_token_bytes if begins else library.eb_token_bytes
        room = 64
        while True:
            data = ctypes.create_string_buffer(room)
            needed = int(function(model.handle, token, data, room))
            if needed < 0:
                raise RuntimeModelError(f"token {token} has no text: this model has no tokenizer")
            if needed <= room:
                return data.raw[:needed]
            room = needed

    def is_stop(self, token: int) -> bool:
        model = self._open()
        check_ids([token], self._vocab_size)
        return bool(self._library.eb_is_stop(model.handle, token))

    def is_special(self, token: int) -> bool:
        model = self._open()
        check_ids([token], self._vocab_size)
        return bool(self._library.eb_is_special(model.handle, token))


def check_ids(ids: Sequence[Any], vocab_size: int) -> None:
    """Raises RuntimeModelError naming the first that is no id. Here and not in the library: C would cut a
    number to 32 bits first.
    """
    for token in ids:
        if not vocab_size:
            raise RuntimeModelError("there are no token ids: this model has no tokenizer")
        if not is_whole(token) or not 0 <= token < vocab_size:
            largest = vocab_size - 1
            raise RuntimeModelError(f"token {token!r} is not in the vocabulary: ids are 0 to {largest}")


def sentence(message: Any) -> str:
    """What the library wrote into a buffer for its reason."""
    return str(message.value.decode("utf-8", "replace")) or "the native library gives no reason"


def _utf8(text: str) -> bytes:
    """The bytes of a text. Surrogates stand for the bytes that Python could not decode, on a command line
    for example, and become these again: the library reads what is not UTF-8 as U+FFFD.
    """
    if not isinstance(text, str):
        raise RuntimeModelError(f"a text is of type {type(text).__name__}: expected str")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for nothing
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")


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
