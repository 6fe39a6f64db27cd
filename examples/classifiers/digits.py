"""Handwritten digits, 8 × 8 pixels: trained with ternary layers, compiled, and asked again on the bundle.

python examples/classifiers/digits.py --output build/digits            # for this machine
python examples/classifiers/digits.py --output build/digits --target arm64
"""

from __future__ import annotations

import numpy as np
import torch
from classifier import compile_and_compare, export, options, train
from sklearn.datasets import load_digits
from torch import Tensor, nn

from edgebit.nn import BitConv2d, BitLinear

EPOCHS, BATCH = 25, 64
HELD_OUT = 360  # images
BRIGHTEST = 16.0


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels from 0 to 1 [N, 1, 8, 8] and labels, to train with and held out: scikit-learn's 1,797 digits."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    pixels = torch.tensor(data.images[order] / BRIGHTEST, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target[order])
    return pixels[HELD_OUT:], labels[HELD_OUT:], pixels[:HELD_OUT], labels[:HELD_OUT]


def classifier() -> nn.Module:
    """Two ternary convolutions and a ternary classifier: 21,000 weights, 5 KB."""
    return nn.Sequential(
        BitConv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        BitConv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        BitLinear(256, 10),
    )


def trained(pixels: Tensor, labels: Tensor, epochs: int = EPOCHS) -> nn.Module:
    """The same model every time on the same machine: the seed is fixed."""
    torch.manual_seed(0)
    return train(classifier(), pixels, labels, epochs, BATCH, rate=4e-3)


def main() -> None:
    chosen = options(__doc__.splitlines()[0], "digits")
    pixels, labels, held_out, expected = images()
    model = trained(pixels, labels)
    file = export(model, held_out[:1], chosen.output / "digits.onnx", "image")
    compile_and_compare(file, chosen.target, model, held_out, expected)


if __name__ == "__main__":
    main()
