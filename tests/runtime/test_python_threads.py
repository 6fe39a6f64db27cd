"""One Model in several Python threads: calls take turns, and who was overtaken or closed is told so."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest

from edgebit.runtime import RuntimeModelError
from tests.runtime.builders import toy_logits
from tests.runtime.conftest import OpenToy
from tests.runtime.toy_bundle import ANSWER, followers

HI = [{"role": "user", "content": "hi"}]
THREADS = 4
WAIT = 60.0  # seconds that nothing here takes


def at_once(work: Callable[[int], None]) -> list[BaseException]:
    """Runs `work` in several threads; what they raised. Threads that hang are a failure, not a wait."""
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    return errors


def test_calls_of_several_threads_take_turns(open_toy: OpenToy) -> None:
    model = open_toy({})
    prompts = [[i, 3, 1, 4, i, 5, 9, 2, 6] for i in range(THREADS)]
    expected = [toy_logits(prompt) for prompt in prompts]

    def work(index: int) -> None:
        for _ in range(200):
            assert np.asarray(model.logits(prompts[index])).tolist() == expected[index]

    assert at_once(work) == []


def test_an_answer_is_whole_or_is_told_that_another_was_started(open_toy: OpenToy) -> None:
    model = open_toy()
    whole = []

    def work(index: int) -> None:
        for _ in range(200):
            try:
                whole.append("".join(model.chat(HI)))
            except RuntimeModelError as error:
                assert "another run was started" in str(error)

    assert at_once(work) == []
    assert set(whole) == {ANSWER}


def test_a_model_may_be_closed_while_another_thread_uses_it(open_toy: OpenToy) -> None:
    for _ in range(20):
        model = open_toy(followers("abc", end=None) | {ord("c"): ord("a")})
        begun = threading.Barrier(THREADS)

        def work(index: int, model=model, begun=begun) -> None:  # type: ignore[no-untyped-def]
            begun.wait(WAIT)
            if not index:
                model.close()
                return
            with pytest.raises(RuntimeModelError, match="the model is closed"):
                while True:
                    model.detokenize(model.tokenize("ab"))
                    model.logits([1, 2, 3])

        assert at_once(work) == []


def test_a_child_forked_while_another_thread_computes_is_told_to_open_its_own(open_toy: OpenToy) -> None:
    model = open_toy({})
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            model.logits(range(40))

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a child that waits for a thread it has not is killed
                try:
                    model.logits([1])
                except RuntimeModelError as error:
                    os._exit(0 if "forked" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join(WAIT)
