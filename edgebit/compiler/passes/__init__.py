"""The fusion passes, in the order they run: graph operators in, kernel operators out (see `operators.py`)."""

from __future__ import annotations

from edgebit.compiler.passes.fuse_attention import FuseAttention
from edgebit.compiler.passes.fuse_bias import FuseBias
from edgebit.compiler.passes.fuse_embedding import FuseEmbedding
from edgebit.compiler.passes.fuse_gated import FuseGated
from edgebit.compiler.passes.fuse_head import FuseHead
from edgebit.compiler.passes.fuse_head_norm import FuseHeadNorm
from edgebit.compiler.passes.fuse_linear import FuseLinear
from edgebit.compiler.passes.fuse_norm_quantize import FuseNormQuantize
from edgebit.compiler.passes.fuse_pooling import FusePooling
from edgebit.compiler.passes.fuse_residual import FuseResidual
from edgebit.compiler.passes.fuse_scale import FuseScale
from edgebit.compiler.passes.rewrite import Rewrite

PASSES: tuple[Rewrite, ...] = (
    FuseEmbedding(),
    FuseScale(),
    FuseHead(),
    FusePooling(),
    FuseHeadNorm(),
    FuseNormQuantize(),
    FuseLinear(),
    FuseBias(),
    FuseAttention(),
    FuseGated(),
    FuseResidual(),
)
