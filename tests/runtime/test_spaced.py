"""A bundle with a SentencePiece tokenizer: where its answers begin with a space and where not."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from edgebit.runtime.model import Model
from tests.runtime.toy_bundle import ASSISTANT, END, SPECIAL, WORDS, spaced_text_table, write_toy_bundle

OK, YES = WORDS["\u2581ok"], WORDS["\u2581yes"]
ANSWER = [OK, *"🙂".encode(), YES]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It says ANSWER after <|assistant|> and after "x"."""
    table = dict(pairwise([SPECIAL[ASSISTANT], *ANSWER, SPECIAL[END]])) | {ord("x"): OK}
    return write_toy_bundle(tmp_path_factory.mktemp("spaced") / "bundle", table, text=spaced_text_table())


def test_an_answer_to_a_message_begins_without_the_space(bundle: Path) -> None:
    with Model(bundle, 1) as model:
        assert list(model.chat([{"role": "user", "content": "hi"}])) == ["ok", "🙂", " yes"]
        assert "".join(model.generate([*model.tokenize("hi"), SPECIAL[ASSISTANT]])) == "ok🙂 yes"


def test_a_continued_text_keeps_it(bundle: Path) -> None:
    with Model(bundle, 1) as model:
        ids = model.tokenize("x", add_bos=False)
        assert "".join(model.generate(ids)) == " ok🙂 yes"
        assert model.detokenize([*ids, *ANSWER]) == "x ok🙂 yes"
        assert model.detokenize(ANSWER) == "ok🙂 yes"


def test_edgebit_run_says_the_same(bundle: Path) -> None:
    def says(*arguments: str) -> str:
        command = [str(bundle / "edgebit-run"), "-p", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert says("hi") == "ok🙂 yes\n"
    assert says("x", "--raw") == " ok🙂 yes\n"
