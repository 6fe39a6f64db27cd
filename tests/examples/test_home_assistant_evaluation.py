"""What counts as a right answer, and when the evaluation passes."""

import pytest
from corpus import Example
from evaluate import Outcome, SplitResult, evaluate_split, handwritten_examples

ON = Example("turn on the fan", '{"action":"turn_on","device":"fan"}', "switch")
REFUSED = Example("who wrote hamlet?", "Sorry, I can only help with this home.", "refusal")


def result(*answers: str) -> SplitResult:
    return SplitResult("slots", [Outcome(ON, answer) for answer in answers], seconds=1.0)


def test_only_the_very_same_text_is_exact() -> None:
    assert Outcome(ON, ON.answer).is_exact
    assert not Outcome(ON, '{"action": "turn_on", "device": "fan"}').is_exact


@pytest.mark.parametrize("answer", ["Sorry.", '{"action":"turn_on"', "", '"turn_on"'])
def test_words_and_broken_json_are_not_valid(answer: str) -> None:
    assert not Outcome(ON, answer).is_valid


def test_another_action_is_valid_but_not_exact() -> None:
    scores = result(ON.answer, '{"action":"turn_off","device":"fan"}')
    assert (scores.exact_match, scores.valid_json) == (0.5, 1.0)
    assert not scores.passes


def test_answers_in_words_do_not_count_as_json() -> None:
    outcomes = [Outcome(ON, ON.answer), Outcome(REFUSED, REFUSED.answer)]
    assert SplitResult("slots", outcomes, seconds=1.0).valid_json == 1.0


def test_one_invalid_answer_in_a_hundred_misses_the_gate() -> None:
    assert result(*[ON.answer] * 100).passes
    assert not result(*[ON.answer] * 99, "Sorry.").passes


def test_a_split_asks_every_request_once() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return ON.answer

    scores = evaluate_split("slots", [ON, REFUSED], ask)
    assert asked == [ON.prompt, REFUSED.prompt]
    assert scores.exact_match == 0.5


def test_handwritten_requests_are_distinct() -> None:
    prompts = [example.prompt for example in handwritten_examples()]
    assert len(set(prompts)) == len(prompts) >= 80
