"""Modules as people write them, with ternary layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebit.nn import BitLinear

TOKENS, WORDS, FEATURES, HEADS = 12, 50, 64, 4


class Attention(nn.Module):
    """Grouped queries; causal or with a mask."""

    def __init__(self, kv_heads: int, causal: bool) -> None:
        super().__init__()
        self.kv_heads, self.causal = kv_heads, causal
        width = FEATURES // HEADS * kv_heads
        self.q, self.o = BitLinear(FEATURES, FEATURES), BitLinear(FEATURES, FEATURES, bias=False)
        self.k, self.v = BitLinear(FEATURES, width), BitLinear(FEATURES, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (
            layer(x).view(batch, tokens, heads, -1).transpose(1, 2)
            for layer, heads in ((self.q, HEADS), (self.k, self.kv_heads), (self.v, self.kv_heads))
        )
        y = functional.scaled_dot_product_attention(
            q, k, v, mask, is_causal=self.causal, enable_gqa=self.kv_heads != HEADS
        )
        return self.o(y.transpose(1, 2).reshape(batch, tokens, FEATURES))


class Block(nn.Module):
    """Norms before attention and before the feed-forward part, which is gated with SiLU or has a GELU."""

    def __init__(self, kv_heads: int, causal: bool, gated: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(FEATURES), nn.LayerNorm(FEATURES)])
        self.attention = Attention(kv_heads, causal)
        self.gate = BitLinear(FEATURES, 2 * FEATURES, bias=False) if gated else None
        self.up, self.down = BitLinear(FEATURES, 2 * FEATURES), BitLinear(2 * FEATURES, FEATURES)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.norms[0](x), mask)
        y = self.norms[1](x)
        if self.gate is None:
            return x + self.down(functional.gelu(self.up(y)))
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class TextClassifier(nn.Module):
    """Token ids [B, T] int64 and which of them are there [B, T] bool → scores [B, 5].

    Blocks without a mask, with a boolean one (a row of which may be empty), an additive one, and causal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, FEATURES)
        self.places = nn.Parameter(torch.randn(TOKENS, FEATURES))
        shapes = [(HEADS, False, False), (HEADS, False, True), (1, False, False), (2, True, True)]
        self.blocks = nn.ModuleList([Block(*shape) for shape in shapes])
        self.norm, self.head = nn.LayerNorm(FEATURES), nn.Linear(FEATURES, 5)

    def forward(self, ids: Tensor, there: Tensor) -> Tensor:
        x = self.words(ids) + self.places
        distance = torch.arange(TOKENS, device=ids.device)
        slopes = -0.5 * (distance[:, None] - distance).abs().to(x.dtype)
        present = there[:, None, None, :].expand(-1, -1, TOKENS, -1)  # onnxruntime wants all its rows
        for block, mask in zip(self.blocks, (None, present, slopes, None), strict=True):
            x = block(x, mask)
        return self.head(self.norm(x.mean(1)))


def text_classifier() -> tuple[TextClassifier, tuple[Tensor, Tensor]]:
    """The module in eval mode, and inputs: the second text has no token at all."""
    torch.manual_seed(6)
    module = TextClassifier().eval()
    there = torch.rand(3, TOKENS) > 0.3
    there[1] = False
    return module, (torch.randint(0, WORDS, (3, TOKENS)), there)


class Recurrent(nn.Module):
    """Recurrent layers of every kind, forward and both ways, from given states and from zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(10, 6, batch_first=True, bidirectional=True)
        self.gru, self.rnn = nn.GRU(12, 7, num_layers=2), nn.RNN(7, 5)
        self.state = nn.Parameter(torch.randn(2, 3, 7))
        self.head = BitLinear(5, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, (_, cells) = self.lstm(x)
        y, _ = self.gru(y, self.state)
        return self.head(functional.mish(self.rnn(y)[0])), cells


class Indexed(nn.Module):
    """Elements at indices that are given, some from the end; places that are overwritten; running sums."""

    def forward(self, x: Tensor, i: Tensor) -> tuple[Tensor, ...]:
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        picked = x[:, i], x[torch.arange(2), i[:2]], x.gather(1, (i % 9).expand(2, -1))
        return *picked, y, x.flip(1), x.cumsum(-1)
