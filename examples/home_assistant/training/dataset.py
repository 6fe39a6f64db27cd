"""Requests and answers as token ids in the chat format, packed into rows of one length.

A document is ``BOS User: U EOT Assistant: A EOT`` with every piece encoded on its own, exactly as the runtime
encodes a dialogue. Some documents hold two or three unrelated turns, so that a history does not disturb.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from corpus import Example
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .tokenizer import BOS, EOT, token_id

ANSWER_WEIGHT = 1.0
PROMPT_WEIGHT = 0.1
_FOLLOW_UP_SHARE = 0.12
_JOINED_HISTORY_SHARE = 0.5
_OPEN_ROWS = 48
_ENCODE_CHUNK = 20_000


@dataclass(frozen=True)
class Document:
    """Token ids and, for each, its weight as a prediction target."""

    ids: NDArray[np.int16]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class PackedRows:
    """Rows of T tokens, [R, T]; ``documents`` numbers the documents within a row, -1 is padding."""

    ids: NDArray[np.int16]
    weights: NDArray[np.float32]
    documents: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens(self) -> int:
        return int((self.documents >= 0).sum())


class ChatEncoder:
    """Encodes one turn at a time in the chat format of BitNet b1.58 2B-4T."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.bos = token_id(tokenizer, BOS)
        self.eot = token_id(tokenizer, EOT)
        self.answer_prefix: list[int] = tokenizer.encode("Assistant: ", add_special_tokens=False).ids

    def prompt(self, text: str) -> list[int]:
        """Ids of a dialogue with one user message, ready for the answer."""
        piece = self._tokenizer.encode(f"User: {text.strip()}", add_special_tokens=False).ids
        return [self.bos, *piece, self.eot, *self.answer_prefix]

    def documents(self, examples: Iterable[Example], seed: int) -> Iterator[Document]:
        """Documents of one turn, some with follow-up turns."""
        chooser = random.Random(seed)
        stream = iter(examples)
        pending: list[Document] = []
        while chunk := list(islice(stream, _ENCODE_CHUNK)):
            for turn in self._turns(chunk, [chooser.random() < _JOINED_HISTORY_SHARE for _ in chunk]):
                if pending and chooser.random() >= _FOLLOW_UP_SHARE:
                    yield self._document(pending)
                    pending = []
                pending.append(turn)
        if pending:
            yield self._document(pending)

    def single(self, examples: Sequence[Example]) -> list[Document]:
        """One document of one turn per example."""
        return [self._document([turn]) for turn in self._turns(examples, [False] * len(examples))]

    def _turns(self, examples: Sequence[Example], joined: Sequence[bool]) -> Iterator[Document]:
        """``joined`` turns are encoded like history, the role and the answer in one piece."""
        prompts = self._encode([f"User: {example.prompt}" for example in examples])
        prefix = "Assistant: "
        answers = self._encode(
            [
                prefix + example.answer if join else example.answer
                for example, join in zip(examples, joined, strict=True)
            ]
        )
        for prompt, answer, join in zip(prompts, answers, joined, strict=True):
            given = [*prompt, self.eot, *(() if join else self.answer_prefix)]
            ids = [*given, *answer, self.eot]
            weights = np.full(len(ids), ANSWER_WEIGHT, np.float32)
            weights[: len(given) + (2 if join else 0)] = PROMPT_WEIGHT
            yield Document(np.array(ids, np.int16), weights)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _document(self, turns: Sequence[Document]) -> Document:
        start = Document(np.array([self.bos], np.int16), np.zeros(1, np.float32))
        parts = [start, *turns]
        return Document(np.concatenate([p.ids for p in parts]), np.concatenate([p.weights for p in parts]))


def pack(documents: Iterable[Document], row_length: int, row_count: int) -> PackedRows:
    """Best-fit packing into ``row_count`` rows; documents longer than a row are dropped.

    Raises ValueError when the documents run out early.
    """
    finished: list[list[Document]] = []
    open_rows: list[tuple[int, list[Document]]] = []
    stream = iter(documents)
    while len(finished) < row_count:
        document = next(stream, None)
        if document is None:
            raise ValueError(f"the documents fill {len(finished)} rows, expected {row_count}")
        length = len(document.ids)
        if length > row_length:
            continue
        fitting = [index for index, (free, _) in enumerate(open_rows) if free >= length]
        if fitting:
            best = min(fitting, key=lambda index: open_rows[index][0])
            free, row = open_rows.pop(best)
        else:
            free, row = row_length, []
        row.append(document)
        open_rows.append((free - length, row))
        if len(open_rows) > _OPEN_ROWS:
            fullest = min(range(len(open_rows)), key=lambda index: open_rows[index][0])
            finished.append(open_rows.pop(fullest)[1])
    return lay_out(finished, row_length)


def concatenate(first: PackedRows, second: PackedRows) -> PackedRows:
    return PackedRows(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.documents, second.documents]),
    )


def lay_out(rows: Sequence[Sequence[Document]], row_length: int) -> PackedRows:
    """Copy documents into padded arrays; the first token of a document is never a target."""
    shape = (len(rows), row_length)
    packed = PackedRows(np.zeros(shape, np.int16), np.zeros(shape, np.float32), np.full(shape, -1, np.int16))
    for r, row in enumerate(rows):
        start = 0
        for number, document in enumerate(row):
            end = start + len(document.ids)
            packed.ids[r, start:end] = document.ids
            packed.weights[r, start:end] = document.weights
            packed.weights[r, start] = 0.0
            packed.documents[r, start:end] = number
            start = end
    return packed
