"""BitNetForCausalLM for quantisation-aware training (semantics of the Hugging Face implementation).

Parameter names follow the Hugging Face checkpoint. GEMMs run in float32 on integer codes: with int8
activations and ternary weights every sum stays below 2**24, so they are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST_SCALE = 1e-5


@dataclass(frozen=True)
class ModelSize:
    """Shape of the network; every field has the meaning it has in a Hugging Face config."""

    vocab_size: int = 1024
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 5
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


def quantize_activations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Per-token absmax int8 codes (as floats) and the scale; gradients pass straight through the rounding."""
    scale = 127.0 * x.detach().abs().amax(-1, keepdim=True).clamp_min(_SMALLEST_SCALE).reciprocal()
    scaled = x * scale
    codes = scaled.detach().round().clamp(-128, 127)
    return scaled + (codes - scaled).detach(), scale


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Absmean ternary weight (as floats) and its multiplier; gradients pass straight through the rounding."""
    multiplier = weight.detach().abs().mean().clamp_min(_SMALLEST_SCALE)
    scaled = weight * multiplier.reciprocal()
    trits = scaled.detach().round().clamp(-1, 1)
    return scaled + (trits - scaled).detach(), multiplier


class BitLinear(nn.Module):
    """Ternary projection without bias; master weights in float32."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return project(x, self)[0]


def project(x: Tensor, *projections: BitLinear) -> tuple[Tensor, ...]:
    """Several projections of one input in a single GEMM; each keeps its own weight multiplier."""
    codes, scale = quantize_activations(x)
    quantized = [quantize_weight(projection.weight) for projection in projections]
    sums = F.linear(codes, torch.cat([trits for trits, _ in quantized]))
    parts = torch.split(sums, [trits.shape[0] for trits, _ in quantized], -1)
    return tuple(part * (multiplier / scale) for part, (_, multiplier) in zip(parts, quantized, strict=True))


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions and a norm before the output projection."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        hidden, kv_width = size.hidden_size, size.num_key_value_heads * size.head_dim
        self.q_proj = BitLinear(hidden, hidden)
        self.k_proj = BitLinear(hidden, kv_width)
        self.v_proj = BitLinear(hidden, kv_width)
        self.o_proj = BitLinear(hidden, hidden)
        self.attn_sub_norm = RMSNorm(hidden, size.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        rows, length, hidden = x.shape
        q, k, v = project(x, self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (part.view(rows, length, -1, self.size.head_dim).transpose(1, 2) for part in (q, k, v))
        groups = self.size.num_attention_heads // self.size.num_key_value_heads
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        output: Tensor = self.o_proj(self.attn_sub_norm(mixed.transpose(1, 2).reshape(rows, length, hidden)))
        return output


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding with rotate-half pairs ``(i, i + head_dim / 2)``."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class FeedForward(nn.Module):
    """Gated unit with squared ReLU on the gate and a norm before the down projection."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.gate_proj = BitLinear(size.hidden_size, size.intermediate_size)
        self.up_proj = BitLinear(size.hidden_size, size.intermediate_size)
        self.down_proj = BitLinear(size.intermediate_size, size.hidden_size)
        self.ffn_sub_norm = RMSNorm(size.intermediate_size, size.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = project(x, self.gate_proj, self.up_proj)
        output: Tensor = self.down_proj(self.ffn_sub_norm(F.relu(gate).square() * up))
        return output


class Block(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(size.hidden_size, size.rms_norm_eps)
        self.self_attn = Attention(size)
        self.post_attention_layernorm = RMSNorm(size.hidden_size, size.rms_norm_eps)
        self.mlp = FeedForward(size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, bias)
        output: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return output


class BitNet(nn.Module):
    """Token ids [B, T] and document numbers [B, T] to logits [B, T, V]; a document sees only itself."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.embed_tokens = nn.Embedding(size.vocab_size, size.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Block(size) for _ in range(size.num_hidden_layers))
        self.norm = RMSNorm(size.hidden_size, size.rms_norm_eps)

    def compile_blocks(self) -> None:
        """Let inductor fuse the element-wise work; one graph serves all blocks."""
        for block in self.layers:
            block.compile(dynamic=False)

    def forward(self, ids: Tensor, documents: Tensor) -> Tensor:
        length = ids.shape[1]
        cos, sin = rope_tables(length, self.size)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        visible = (documents[:, :, None] == documents[:, None, :]) & causal
        bias = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))[:, None]
        x = self.embed_tokens(ids)
        for block in self.layers:
            x = block(x, cos, sin, bias)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def rope_tables(length: int, size: ModelSize) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, head_dim].

    Attention depends on distances only, so documents packed into a row need no positions of their own.
    """
    exponents = torch.arange(0, size.head_dim, 2).float() / size.head_dim
    angles = torch.arange(length).float()[:, None] / size.rope_theta**exponents
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()
