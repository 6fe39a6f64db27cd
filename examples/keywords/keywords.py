"""A keyword spotter from samples to scores: log-mel features and ternary convolutions in one graph.

    python examples/keywords/keywords.py --output build/keywords           # for this machine
    python examples/keywords/keywords.py --output build/keywords --target arm64

The words are synthesised (speech.py): nobody's voice was recorded for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from speech import LABELS, RATE, SAMPLES, clips
from torch import Tensor, nn

import edgebit
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


def train(features: Tensor, labels: Tensor, epochs: int = EPOCHS) -> nn.Module:
    torch.set_num_threads(1)  # tensors are small: threads would mostly wait for each other
    torch.manual_seed(0)
    model = spotter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(labels) // BATCH))
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(BATCH)[: len(labels) // BATCH]:
            loss = nn.functional.cross_entropy(model(features[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    samples, labels = clips(count, seed)
    return torch.tensor(samples), torch.tensor(labels)


def ask(bundle: Path, samples: Tensor) -> npt.NDArray[np.float32]:
    """Scores [N, labels] of the compiled model, one clip at a time."""
    with edgebit.load(bundle) as model:
        return np.concatenate([np.asarray(model.run(each[None].numpy())["scores"]) for each in samples])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--output", type=Path, default=Path("build/keywords"))
    options.add_argument("--target", default="host")
    chosen = options.parse_args()
    features = LogMel()
    samples, labels = data(TRAINING, seed=1)
    model = nn.Sequential(features, train(features(samples), labels)).eval()
    held_out, expected = data(HELD_OUT, seed=2)
    with torch.no_grad():
        scores = model(held_out).numpy()
    print(
        f"torch: {(scores.argmax(1) == expected.numpy()).mean():.1%} of {HELD_OUT} held-out clips are right"
    )
    chosen.output.mkdir(parents=True, exist_ok=True)
    file = edgebit.export_torch(
        model, torch.zeros(1, SAMPLES), chosen.output / "keywords.onnx", ["samples"], ["scores"]
    )
    bundle = edgebit.compile(file, chosen.target, chosen.output / f"keywords-{chosen.target}")
    print(f"{bundle}: compiled for {chosen.target}, its self-test is right")
    if chosen.target == "host":
        compiled = ask(bundle, held_out)
        same = (compiled.argmax(1) == scores.argmax(1)).mean()
        largest = np.abs(compiled - scores).max()
        print(f"bundle: {same:.1%} of its answers are torch's; scores differ by {largest:.1e} at most")


if __name__ == "__main__":
    main()
