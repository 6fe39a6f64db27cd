"""The fusion passes, in the order they run: graph operators in, kernel operators out (see `operators.py`)."""

from __future__ import annotations

from edgebit.compiler.passes.fuse_attention import FuseAttention
from edgebit.compiler.passes.fuse_embedding import FuseEmbedding
from edgebit.compiler.passes.fuse_gated_linear import FuseGatedLinear
from edgebit.compiler.passes.fuse_head import FuseHead
from edgebit.compiler.passes.fuse_linear import FuseLinear
from edgebit.compiler.passes.fuse_norm_quantize import FuseNormQuantize
from edgebit.compiler.passes.fuse_residual import FuseResidual
from edgebit.compiler.passes.rewrite import Rewrite

PASSES: tuple[Rewrite, ...] = (
    FuseEmbedding(),
    FuseHead(),
    FuseNormQuantize(),
    FuseLinear(),
    FuseAttention(),
    FuseGatedLinear(),
    FuseResidual(),
)
