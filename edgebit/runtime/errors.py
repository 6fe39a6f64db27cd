"""The errors a bundle can give: each is one printable line that says what to do."""

from __future__ import annotations


class RuntimeModelError(Exception):
    """Base of everything the loader raises on purpose; ``str(error)`` is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class IntegrityError(RuntimeModelError):
    """A file of the bundle is missing, damaged or of another bundle, or the bundle is for another machine."""


class ContextFullError(RuntimeModelError):
    """The tokens do not fit into the model's context."""
