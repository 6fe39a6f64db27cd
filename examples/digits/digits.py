"""Handwritten digits, 8 × 8 pixels: trained with ternary layers, compiled, and asked again on the bundle.

python examples/digits/digits.py --output build/digits            # for this machine
python examples/digits/digits.py --output build/digits --target arm64
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import edgebit
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


def train(pixels: Tensor, labels: Tensor, epochs: int = EPOCHS) -> nn.Module:
    """The same model every time on the same machine: the seed is fixed."""
    torch.set_num_threads(1)  # tensors are small: threads would mostly wait for each other
    torch.manual_seed(0)
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(BATCH)[: len(labels) // BATCH]:
            loss = nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model: nn.Module, file: Path) -> Path:
    """For one image at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return edgebit.export_torch(model, torch.zeros(1, 1, 8, 8), file, ["image"], ["scores"])


def ask(bundle: Path, pixels: Tensor) -> npt.NDArray[np.float32]:
    """Scores [N, 10] of the compiled model."""
    with edgebit.load(bundle) as model:
        return np.concatenate([np.asarray(model.run(image[None].numpy())["scores"]) for image in pixels])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--output", type=Path, default=Path("build/digits"))
    options.add_argument("--target", default="host")
    chosen = options.parse_args()
    pixels, labels, held_out, expected = images()
    model = train(pixels, labels)
    with torch.no_grad():
        scores = model(held_out).numpy()
    print(
        f"torch: {(scores.argmax(1) == expected.numpy()).mean():.1%} of {HELD_OUT} held-out digits are right"
    )
    file = export(model, chosen.output / "digits.onnx")
    bundle = edgebit.compile(file, chosen.target, chosen.output / f"digits-{chosen.target}")
    print(f"{bundle}: compiled for {chosen.target}, its self-test is right")
    if chosen.target == "host":
        compiled = ask(bundle, held_out)
        same = (compiled.argmax(1) == scores.argmax(1)).mean()
        largest = np.abs(compiled - scores).max()
        print(f"bundle: {same:.1%} of its answers are torch's; scores differ by {largest:.1e} at most")


if __name__ == "__main__":
    main()
