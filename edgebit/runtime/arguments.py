"""What callers give, as the engine takes it; RuntimeModelError says what else was expected."""

from __future__ import annotations

from numbers import Integral
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from .errors import RuntimeModelError

Message = Mapping[str, Any]  # {"role": "user", "content": "..."}
Texts = Union[str, Sequence[str]]


def is_whole(value: Any) -> bool:
    """A whole number, of Python or of numpy."""
    return isinstance(value, (int, Integral))


def listed(value: Any, name: str, expected: str) -> List[Any]:
    """The items of a list, an array or whatever can be walked through, but of text or bytes."""
    if not isinstance(value, (str, bytes, bytearray)) and hasattr(value, "__iter__"):
        return list(value)
    raise RuntimeModelError(f"{name}: expected {expected}, found {type(value).__name__}")


def prompt_ids(value: Sequence[int]) -> List[int]:
    return listed(value, "the prompt", "text, or a list of token ids")


def token_ids(value: Sequence[int]) -> List[int]:
    return listed(value, "token ids", "a list of whole numbers")


def texts_of(value: Texts, name: str) -> List[str]:
    """One text or several."""
    texts = [value] if isinstance(value, str) else listed(value, name, "text, or a list of texts")
    for text in texts:
        if not isinstance(text, str):
            raise RuntimeModelError(f"{name}: expected a list of texts, found {type(text).__name__} in it")
    return texts


def stops_of(value: Optional[Texts]) -> List[str]:
    """Stop strings; None: there are none."""
    return [] if value is None else texts_of(value, "stop")


def most_tokens(value: Any) -> Optional[int]:
    if value is None:
        return None
    if is_whole(value) and value >= 1:
        return int(value)
    raise RuntimeModelError(f"max_tokens {value!r}: expected at least 1")


def conversation(messages: Sequence[Message]) -> List[Tuple[str, str]]:
    """Role and content of each message."""
    if isinstance(messages, Mapping):
        raise RuntimeModelError("messages: expected a list of messages, found one alone")
    return [_role_and_content(message) for message in listed(messages, "messages", "a list of messages")]


def _role_and_content(message: Message) -> Tuple[str, str]:
    try:
        role, content = message["role"], message["content"]
    except (KeyError, TypeError):
        raise RuntimeModelError(f"a message is {message!r}: expected a role and a content") from None
    if not isinstance(role, str) or not isinstance(content, str):
        raise RuntimeModelError(f"a message is {message!r}: role and content must be text")
    return role, content
