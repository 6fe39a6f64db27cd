"""The smart-home corpus: a grammar of requests with one right answer each, and its held-out splits."""

from .splits import HELD_OUT_SPLITS, Example, examples, held_out_examples

__all__ = ["HELD_OUT_SPLITS", "Example", "examples", "held_out_examples"]
