"""What both classifiers take: a training loop, and the same questions to torch and to the compiled model."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import edgebit


def train(
    model: nn.Module, inputs: Tensor, labels: Tensor, epochs: int, batch: int, rate: float
) -> nn.Module:
    """AdamW with a cosine from ``rate`` to 0. The caller seeds torch before it draws ``model``."""
    torch.set_num_threads(1)  # tensors are small: threads would mostly wait for each other
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * (len(labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels)).split(batch)[: len(labels) // batch]:
            loss = nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def ask(bundle: Path, inputs: Tensor) -> npt.NDArray[np.float32]:
    """Scores [N, classes] of the compiled model, which takes one input at a time."""
    with edgebit.load(bundle) as model:
        return np.concatenate([np.asarray(model.run(each[None].numpy())["scores"]) for each in inputs])


def options(description: str, name: str) -> argparse.Namespace:
    """``output``: a folder; ``target``: what the bundle is for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path("build") / name)
    parser.add_argument("--target", default="host")
    return parser.parse_args()


def export(model: nn.Module, example: Tensor, file: Path, input_name: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return edgebit.export_torch(model, example, file, [input_name], ["scores"])


def compile_and_compare(file: Path, target: str, model: nn.Module, inputs: Tensor, expected: Tensor) -> None:
    """Print how many held-out inputs torch gets right, and what the bundle makes of them on this machine."""
    with torch.no_grad():
        scores = model(inputs).numpy()
    right = (scores.argmax(1) == expected.numpy()).mean()
    print(f"torch: {right:.1%} of {len(expected)} held-out inputs are right")
    bundle = edgebit.compile(file, target, file.parent / f"{file.stem}-{target}")
    print(f"{bundle}: compiled for {target}, its self-test is right")
    if target == "host":
        compiled = ask(bundle, inputs)
        same = (compiled.argmax(1) == scores.argmax(1)).mean()
        largest = np.abs(compiled - scores).max()
        print(f"bundle: {same:.1%} of its answers are torch's; scores differ by {largest:.1e} at most")
