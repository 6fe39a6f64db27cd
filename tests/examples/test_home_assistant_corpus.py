"""The smart-home corpus: one right answer per request, and nothing held out is ever trained."""

import json
import re
from itertools import islice

import pytest
from corpus import HELD_OUT_SPLITS, Example, examples, held_out_examples
from corpus.phrases import phrases
from corpus.request import action
from corpus.sampler import Sampler, is_held_out_combination, is_held_out_template
from corpus.splits import TRAINING_SEED
from corpus.spoken import in_words, time_of_day

TRAINED_COUNT = 12_000


@pytest.fixture(scope="module")
def trained() -> list[Example]:
    return list(islice(examples("train", TRAINING_SEED), TRAINED_COUNT))


@pytest.fixture(scope="module", params=HELD_OUT_SPLITS)
def held_out(request: pytest.FixtureRequest) -> tuple[str, list[Example]]:
    return request.param, held_out_examples(request.param, 200)


def test_the_same_seed_gives_the_same_stream() -> None:
    first, second = (list(islice(examples("train", 7), 300)) for _ in range(2))
    assert first == second


def test_another_seed_gives_another_stream() -> None:
    first, second = (list(islice(examples("train", seed), 300)) for seed in (7, 8))
    assert first != second


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(KeyError):
        next(examples("validation", 1))


def test_training_draws_nothing_held_out(trained: list[Example]) -> None:
    assert not any(is_held_out_template(template) for example in trained for template in example.templates)
    assert not any(is_held_out_combination(slots) for example in trained for slots in example.combinations)


def test_held_out_examples_hold_what_their_split_says(held_out: tuple[str, list[Example]]) -> None:
    split, drawn = held_out
    for example in drawn:
        assert any(map(is_held_out_template, example.templates)) == (split in ("templates", "both"))
        assert any(map(is_held_out_combination, example.combinations)) == (split in ("slots", "both"))


def test_held_out_templates_and_combinations_are_absent_from_training(
    trained: list[Example], held_out: tuple[str, list[Example]]
) -> None:
    split, drawn = held_out
    trained_templates = {template for example in trained for template in example.templates}
    trained_combinations = {slots for example in trained for slots in example.combinations}
    for example in drawn:
        if split != "slots":
            assert not set(example.templates) <= trained_templates
        if split != "templates":
            assert not set(example.combinations) <= trained_combinations


def test_no_held_out_prompt_is_trained(trained: list[Example], held_out: tuple[str, list[Example]]) -> None:
    assert not {example.prompt for example in trained} & {example.prompt for example in held_out[1]}


def test_held_out_prompts_are_distinct(held_out: tuple[str, list[Example]]) -> None:
    prompts = [example.prompt for example in held_out[1]]
    assert len(set(prompts)) == len(prompts)


def test_a_prompt_has_one_answer(trained: list[Example]) -> None:
    answers: dict[str, str] = {}
    for example in trained:
        assert answers.setdefault(example.prompt.lower().rstrip(".?"), example.answer) == example.answer


def test_every_action_is_one_compact_json_line(trained: list[Example]) -> None:
    for example in trained:
        if not example.is_action:
            continue
        parsed = json.loads(example.answer)
        assert json.dumps(parsed, separators=(",", ":")) == example.answer
        for command in parsed if isinstance(parsed, list) else [parsed]:
            assert next(iter(command)) == "action"


def test_answers_in_words_are_few(trained: list[Example]) -> None:
    in_plain_words = {example.answer for example in trained if not example.is_action}
    assert 5 < len(in_plain_words) < 20


def test_numbers_in_the_answer_come_from_the_prompt(trained: list[Example]) -> None:
    for example in trained:
        if example.category in ("brightness", "temperature") and example.is_action:
            value = json.loads(example.answer).get("value")
            assert value is None or str(value) in example.prompt or in_words(value) in example.prompt.lower()


@pytest.mark.parametrize(
    "template",
    ["turn on the {room} {device}", "dim the {room} {device} to {value}", "set a timer for {value} {units}"],
)
def test_everyday_phrasings_are_trained(template: str, trained: list[Example]) -> None:
    assert any(template in example.templates for example in trained)


def test_a_time_with_am_or_pm_is_the_time_it_says() -> None:
    sampler = Sampler(3)
    checked = 0
    for _ in range(2000):
        spoken, canonical = time_of_day(sampler)
        match = re.fullmatch(r"(\d+)(?::(\d\d))? (am|pm)", spoken)
        if match:
            hour = int(match[1]) % 12 + (12 if match[3] == "pm" else 0)
            assert canonical == f"{hour:02d}:{match[2] or '00'}"
            checked += 1
    assert checked > 100


def test_number_words() -> None:
    assert [in_words(n) for n in (0, 13, 20, 45, 100)] == [
        "zero",
        "thirteen",
        "twenty",
        "forty five",
        "one hundred",
    ]


def test_phrases_ignore_the_layout_of_the_text() -> None:
    assert phrases("""turn {x} on |
        switch  on {x}""") == ("turn {x} on", "switch on {x}")


def test_an_action_leaves_out_what_is_not_said() -> None:
    assert action("turn_on", device="light", room=None) == '{"action":"turn_on","device":"light"}'
