"""Exact match of the built-in model on the held-out splits, measured on the compiled bundle.

``python examples/home_assistant/evaluate.py`` compiles the model for this machine and asks it every held-out
request, greedily. Exit status 1 when a gate is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import HELD_OUT_SPLITS, Example, held_out_examples

HANDWRITTEN = Path(__file__).parent / "handwritten.jsonl"
EXACT_MATCH_GATE = 0.95
VALID_JSON_GATE = 0.995
MAX_TOKENS = 96

Answer = Callable[[str], str]


@dataclass(frozen=True)
class Outcome:
    """What the model answered to one held-out request."""

    example: Example
    answer: str

    @property
    def is_exact(self) -> bool:
        return self.answer == self.example.answer

    @property
    def is_valid(self) -> bool:
        """Whether a request for an action was answered with one line of JSON."""
        try:
            return isinstance(json.loads(self.answer), (dict, list)) and "\n" not in self.answer
        except ValueError:
            return False


@dataclass(frozen=True)
class SplitResult:
    split: str
    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def exact_match(self) -> float:
        return sum(outcome.is_exact for outcome in self.outcomes) / len(self.outcomes)

    @property
    def valid_json(self) -> float:
        """Share of valid JSON among the requests whose right answer is an action."""
        actions = [outcome for outcome in self.outcomes if outcome.example.is_action]
        return sum(outcome.is_valid for outcome in actions) / len(actions)

    @property
    def passes(self) -> bool:
        return self.exact_match >= EXACT_MATCH_GATE and self.valid_json >= VALID_JSON_GATE


def bundle_answer(folder: Path) -> Answer:
    """Compile the built-in model into ``folder`` and return a function that asks it."""
    import edgebit

    edgebit.compile(target="host", output=folder)
    model = edgebit.load(folder)

    def ask(prompt: str) -> str:
        return "".join(model.chat([{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS))

    return ask


def handwritten_examples() -> list[Example]:
    """Requests written by hand, not drawn from the grammar; reported beside the splits without a gate."""
    lines = HANDWRITTEN.read_text(encoding="utf-8").splitlines()
    return [Example(category="handwritten", **json.loads(line)) for line in lines]


def evaluate_split(split: str, examples: Sequence[Example], ask: Answer) -> SplitResult:
    began = time.perf_counter()
    outcomes = [Outcome(example, ask(example.prompt)) for example in examples]
    return SplitResult(split, outcomes, time.perf_counter() - began)


def print_result(result: SplitResult, failures: int) -> None:
    count = len(result.outcomes)
    print(
        f"{result.split:10} exact match {100 * result.exact_match:5.1f} %   valid JSON "
        f"{100 * result.valid_json:6.2f} %   n = {count}   {1000 * result.seconds / count:.0f} ms per answer"
    )
    wrong = [outcome for outcome in result.outcomes if not outcome.is_exact]
    for outcome in wrong[:failures]:
        print(f"    asked    {outcome.example.prompt}")
        print(f"    answered {outcome.answer}")
        print(f"    expected {outcome.example.answer}")


def print_categories(results: Sequence[SplitResult]) -> None:
    """Exact match and count per category, one column per split."""
    table: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for outcome in result.outcomes:
            table[outcome.example.category][result.split].append(outcome.is_exact)
    print("\ncategory        " + "".join(f"{result.split:>16}" for result in results))
    for category in sorted(table):
        cells = (_cell(table[category][result.split]) for result in results)
        print(f"{category:16}" + "".join(f"{cell:>16}" for cell in cells))


def _cell(verdicts: Sequence[bool]) -> str:
    if not verdicts:
        return "-"
    return f"{100 * sum(verdicts) / len(verdicts):.1f} ({len(verdicts)})"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="requests per split")
    parser.add_argument("--failures", type=int, default=0, help="wrong answers to show per split")
    parser.add_argument("--output", type=Path, help="keep the compiled bundle in this folder")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        ask = bundle_answer(options.output or Path(scratch) / "bundle")
        results = []
        for split in HELD_OUT_SPLITS:
            results.append(evaluate_split(split, held_out_examples(split, options.count), ask))
            print_result(results[-1], options.failures)
        print_result(evaluate_split("by hand", handwritten_examples(), ask), options.failures)
    print_categories(results)
    passed = all(result.passes for result in results)
    print(
        f"\n{'passed' if passed else 'MISSED'}: at least {100 * EXACT_MATCH_GATE:.0f} % exact match "
        f"and {100 * VALID_JSON_GATE:.1f} % valid JSON on every split"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
