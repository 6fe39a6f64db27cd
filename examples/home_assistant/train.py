"""Train the home-assistant model on the CPU: ``python examples/home_assistant/train.py --output RUN``.

The run depends on its options only (steps, not time), and continues from its last checkpoint when started
again. Where cores are shared, set OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=0: spinning barriers slow a step
tenfold.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from corpus import HELD_OUT_SPLITS, examples, held_out_examples
from corpus.splits import COPYING, EVERYDAY, SECOND_STAGE_SEED, TRAINING_SEED
from tokenizers import Tokenizer
from torch import Tensor
from training.dataset import ChatEncoder, Document, PackedRows, concatenate, pack
from training.model import BitLinear, BitNet, ModelSize
from training.schedule import Schedule
from training.scoring import as_tensors, exact_match
from training.tokenizer import save_tokenizer, train_tokenizer

TOKENIZER_EXAMPLES = 60_000
ROW_LENGTH = 96
CHECKPOINT_NAME = "training.pt"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=3850)
    parser.add_argument("--stage-two-start", type=int, default=900, help="first step of the second stage")
    parser.add_argument("--rows", type=int, default=24, help=f"rows of {ROW_LENGTH} tokens per step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--score-every", type=int, default=500, help="steps between interim scores")
    parser.add_argument("--score-count", type=int, default=200, help="examples per split of an interim score")
    return parser.parse_args()


def load_or_train_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        sample = islice(examples("train", TRAINING_SEED), TOKENIZER_EXAMPLES)
        texts = (text for e in sample for text in (f"User: {e.prompt}", "Assistant: ", e.answer))
        save_tokenizer(train_tokenizer(texts, vocab_size), folder)
    return Tokenizer.from_file(str(path))


def training_rows(encoder: ChatEncoder, options: argparse.Namespace) -> PackedRows:
    """The rows of both stages in the order they are trained."""
    first_count = options.stage_two_start * options.rows
    second_count = options.steps * options.rows - first_count
    everyday = encoder.documents(examples("train", TRAINING_SEED, EVERYDAY), options.seed)
    copying = encoder.documents(examples("train", SECOND_STAGE_SEED, COPYING), options.seed + 1)
    return concatenate(pack(everyday, ROW_LENGTH, first_count), pack(copying, ROW_LENGTH, second_count))


def make_optimizer(model: BitNet) -> torch.optim.AdamW:
    """Two groups: ternary matrices (decayed) and everything else (never decayed)."""
    ternary = [module.weight for module in model.modules() if isinstance(module, BitLinear)]
    known = {id(parameter) for parameter in ternary}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = [{"params": ternary}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)


def weighted_loss(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    targets, weights = ids[:, 1:].reshape(-1), weights[:, 1:].reshape(-1)
    losses = F.cross_entropy(logits[:, :-1].reshape(len(targets), -1), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


class Trainer:
    """The state of a run: model, optimiser and step."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.schedule = Schedule(options.steps, options.stage_two_start)
        self.model = BitNet(ModelSize())
        self.optimizer = make_optimizer(self.model)
        self.step = 0
        self.seconds = 0.0
        self._resume()

    @property
    def _checkpoint(self) -> Path:
        return Path(self.options.output) / CHECKPOINT_NAME

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "size": asdict(self.model.size),
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def train_step(self, rows: PackedRows) -> float:
        """One optimiser step on the rows of this step; returns the loss."""
        began = time.perf_counter()
        per_step = self.options.rows
        ids, documents, weights = as_tensors(rows, slice(self.step * per_step, (self.step + 1) * per_step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self.step)
        self.optimizer.param_groups[0]["weight_decay"] = self.schedule.weight_decay(self.step)
        loss = weighted_loss(self.model(ids, documents), ids, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.seconds += time.perf_counter() - began
        return loss.item()

    def run(self, rows: PackedRows, tests: dict[str, list[Document]]) -> None:
        tokens_per_step = rows.tokens / len(rows) * self.options.rows
        while self.step < self.options.steps:
            loss = self.train_step(rows)
            if self.step % 50 == 0:
                speed = self.step * tokens_per_step / self.seconds
                progress = f"step {self.step} loss {loss:.4f} {self.seconds:.0f} s {speed:.0f} tokens/s"
                print(progress, flush=True)
            if self.step % self.options.save_every == 0 or self.step == self.options.steps:
                self.save()
            if self.step % self.options.score_every == 0 or self.step == self.options.steps:
                self.report(tests)

    def report(self, tests: dict[str, list[Document]]) -> None:
        plain = BitNet(self.model.size)  # not compiled: test batches have many shapes
        plain.load_state_dict(self.model.state_dict())
        scores = "  ".join(f"{split} {100 * exact_match(plain, tests[split]):.1f} %" for split in tests)
        print(f"step {self.step} exact match: {scores}", flush=True)


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = load_or_train_tokenizer(options.output / "tokenizer", ModelSize().vocab_size)
    encoder = ChatEncoder(tokenizer)
    rows = training_rows(encoder, options)
    count = options.score_count
    tests = {split: encoder.single(held_out_examples(split, count)) for split in HELD_OUT_SPLITS}
    trainer = Trainer(options)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(f"{parameters} parameters, {rows.tokens} tokens, from step {trainer.step}", flush=True)
    trainer.model.compile_blocks()
    trainer.run(rows, tests)


if __name__ == "__main__":
    main()
