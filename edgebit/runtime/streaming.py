"""Text from tokens as they come: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from typing import Sequence, Tuple


class TextStream:
    """Turns the bytes of tokens into text that can be shown at once.

    A character whose bytes are spread over tokens appears when it is complete. Text that may be the
    beginning of a stop string is held back until that is decided. `begun`: it continues a text, or was fed.
    """

    def __init__(self, stop: Sequence[str] = (), begun: bool = False) -> None:
        self.begun = begun
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._held = ""

    def feed(self, data: bytes) -> Tuple[str, bool]:
        """Text that is certain now, and whether a stop string was reached: nothing follows then."""
        self.begun = True
        text = self._held + self._decoder.decode(data)
        found = [position for position in (text.find(stop) for stop in self._stop) if position >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        certain = len(text) - self._uncertain(text)
        self._held = text[certain:]
        return text[:certain], False

    def finish(self) -> str:
        """What was held back. The bytes of a character that was never completed are dropped."""
        text, self._held = self._held, ""
        return text

    def _uncertain(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
