"""What a model is: configuration, checkpoint readers, ternary codecs, tokenizer files."""

from __future__ import annotations

from edgebit.errors import CheckpointWarning
from edgebit.model.checkpoint import Checkpoint, builtin_model, open_checkpoint
from edgebit.model.facts import Llama3Scaling, ModelConfig
from edgebit.model.overrides import AS_THE_FILE_SAYS, Overrides
from edgebit.model.ternary import TernaryTensor, pack_codes, unpack_codes
from edgebit.model.tokenizer import TokenizerFiles
from edgebit.model.weights import EMBEDDING, FINAL_NORM, LM_HEAD

__all__ = [
    "AS_THE_FILE_SAYS",
    "EMBEDDING",
    "FINAL_NORM",
    "LM_HEAD",
    "Checkpoint",
    "CheckpointWarning",
    "Llama3Scaling",
    "ModelConfig",
    "Overrides",
    "TernaryTensor",
    "TokenizerFiles",
    "builtin_model",
    "open_checkpoint",
    "pack_codes",
    "unpack_codes",
]
