"""What a model is: configuration, checkpoint readers, ternary codecs, tokenizer files."""

from __future__ import annotations

from edgebit.model.checkpoint import (
    EMBEDDING,
    FINAL_NORM,
    LM_HEAD,
    Checkpoint,
    CheckpointWarning,
    builtin_model,
    open_checkpoint,
)
from edgebit.model.config import ModelConfig
from edgebit.model.ternary import TernaryTensor, pack_codes, unpack_codes
from edgebit.model.tokenizer import TokenizerFiles

__all__ = [
    "EMBEDDING",
    "FINAL_NORM",
    "LM_HEAD",
    "Checkpoint",
    "CheckpointWarning",
    "ModelConfig",
    "TernaryTensor",
    "TokenizerFiles",
    "builtin_model",
    "open_checkpoint",
    "pack_codes",
    "unpack_codes",
]
