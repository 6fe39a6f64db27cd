"""A keyword spotter from samples to scores: log-mel features and ternary convolutions in one graph.

    python examples/classifiers/keywords.py --output build/keywords           # for this machine
    python examples/classifiers/keywords.py --output build/keywords --target arm64

The words are synthesised (speech.py): nobody's voice was recorded for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from classifier import compile_and_compare, export, options, train
from speech import LABELS, RATE, SAMPLES, clips
from torch import Tensor, nn

from edgebit.nn import BitConv2d, BitLinear

WINDOW, HOP, BANDS = 256, 128, 32
FRAMES = (SAMPLES - WINDOW) // HOP + 1
TRAINING, HELD_OUT = 1800, 450  # clips
EPOCHS, BATCH = 12, 60


class LogMel(nn.Module):
    """Samples [B, SAMPLES] → [B, 1, FRAMES, BANDS]: a DFT by matrices, as any other product of the graph."""

    def __init__(self) -> None:
        super().__init__()
        places = torch.arange(FRAMES)[:, None] * HOP + torch.arange(WINDOW)
        self.register_buffer("places", places.reshape(-1))
        angles = 2 * np.pi * np.outer(np.arange(WINDOW), np.arange(WINDOW // 2 + 1)) / WINDOW
        window = np.hanning(WINDOW)[:, None]
        self.register_buffer("cosines", torch.tensor(window * np.cos(angles), dtype=torch.float32))
        self.register_buffer("sines", torch.tensor(window * np.sin(angles), dtype=torch.float32))
        self.register_buffer("mel", torch.tensor(mel_bands(), dtype=torch.float32))

    def forward(self, samples: Tensor) -> Tensor:
        frames = samples.index_select(1, self.places).reshape(-1, FRAMES, WINDOW)
        real, imaginary = frames @ self.cosines, frames @ self.sines
        power = (real * real + imaginary * imaginary) @ self.mel
        return torch.log(power + 1e-4)[:, None]


def mel_bands() -> npt.NDArray[np.float64]:
    """[WINDOW / 2 + 1, BANDS] triangles of equal width on the mel scale."""

    def hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(700 * (10 ** (mel / 2595) - 1))

    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = hertz(np.linspace(0, highest, BANDS + 2)) * WINDOW / RATE
    bins = np.arange(WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))


def spotter() -> nn.Module:
    """Features → scores: three ternary convolutions, means over time, a classifier: 58,000 weights."""
    layers: list[nn.Module] = [nn.BatchNorm2d(1)]
    for channels_in, channels_out in ((1, 32), (32, 64), (64, 64)):
        layers += [
            BitConv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AvgPool2d((8, 1)), nn.Flatten(), BitLinear(64 * 4, len(LABELS)))


def trained(features: Tensor, labels: Tensor, epochs: int = EPOCHS) -> nn.Module:
    """The same model every time on the same machine: the seed is fixed."""
    torch.manual_seed(0)
    return train(spotter(), features, labels, epochs, BATCH, rate=3e-3)


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    samples, labels = clips(count, seed)
    return torch.tensor(samples), torch.tensor(labels)


def main() -> None:
    chosen = options(__doc__.splitlines()[0], "keywords")
    features = LogMel()
    samples, labels = data(TRAINING, seed=1)
    model = nn.Sequential(features, trained(features(samples), labels)).eval()
    held_out, expected = data(HELD_OUT, seed=2)
    file = export(model, held_out[:1], chosen.output / "keywords.onnx", "samples")
    compile_and_compare(file, chosen.target, model, held_out, expected)


if __name__ == "__main__":
    main()
