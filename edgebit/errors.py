"""The one exception tree of edgebit.

A message is ONE line: the file, tensor or node, what was found, what was expected, and the way out. It is
raised where the fact is known; the command line prints it and exits 1, never a traceback
(``EDGEBIT_DEBUG=1`` shows that).
"""

from __future__ import annotations


class EdgebitError(Exception):
    """Base of everything edgebit raises on purpose; ``str(error)`` is one printable line."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(map(_printable, " ".join(message.split()))))


def _printable(character: str) -> str:
    """Names come from files that may hold anything: a terminal must not obey them."""
    return character if character.isprintable() else ascii(character)[1:-1]


class ModelError(EdgebitError):
    """Something about the model that is compiled: its checkpoint folder and the files in it."""


class CheckpointError(ModelError):
    """Weights: a missing, truncated or foreign file, a tensor of the wrong name, shape, type or value."""


class CheckpointWarning(UserWarning):
    """Something about a checkpoint that edgebit can read but a person should look at."""


class ConfigError(ModelError):
    """config.json or a sibling describes something unknown, contradictory or not supported."""


class TokenizerError(ModelError):
    """tokenizer.json is missing, broken, or describes what the native tokenizer cannot represent."""


class ChatTemplateError(TokenizerError):
    """The chat template cannot be expressed as a prefix/suffix table per role, or does not parse."""


class HubError(ModelError):
    """A repository of the Hugging Face hub could not be fetched."""


class GraphError(EdgebitError):
    """An ONNX graph cannot be built, written, read, or is not one edgebit understands."""


class CompileError(EdgebitError):
    """The graph cannot be turned into a plan and kernels."""


class TargetError(EdgebitError):
    """A target or tier is unknown, contradictory, or cannot be built for on this workstation."""


class LinkError(EdgebitError):
    """The linker or C compiler failed, or its output is not what a bundle may contain."""


class BundleError(EdgebitError):
    """A bundle cannot be written, is incomplete, or does not match its manifest."""


class SelfTestError(BundleError):
    """A bundle does not compute what was recorded when it was made."""


class UsageError(EdgebitError):
    """Arguments that contradict each other or name nothing."""
