"""Conversations: ids equal those of the text jinja2 prints; templates the table cannot hold are refused with
the reason."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from tokenizers import AddedToken, Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from edgebit.bundle.chat_table import ROLES
from edgebit.bundle.text import build_text_table
from edgebit.errors import ChatTemplateError
from tests.text import spaced_for_tests as spaced
from tests.text import templates
from tests.text import tokenizers_for_tests as make
from tests.text.native import Refused, Text

Messages = Sequence[tuple[str, str]]
LLAMA_NAMES = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
SPACED_NAMES = {"bos_token": "<s>", "eos_token": "</s>"}

REPRESENTED = {
    "bitnet": (make.llama3, templates.BITNET, LLAMA_NAMES),
    "llama3": (make.llama3, templates.LLAMA3, LLAMA_NAMES),
    "llama31": (make.llama3, templates.LLAMA31, LLAMA_NAMES),
    "llama2": (make.llama3, templates.LLAMA2, LLAMA_NAMES),
    "gemma": (make.llama3, templates.GEMMA, LLAMA_NAMES),
    "chatml": (make.qwen2, templates.CHATML, {}),
    "qwen2": (make.qwen2, templates.QWEN2, {}),
    "qwen3": (make.qwen2, templates.QWEN3, {}),
    "falcon3": (make.falcon, templates.FALCON3, {"eos_token": "<|endoftext|>"}),
    "gemma3": (spaced.gemma, templates.GEMMA3, SPACED_NAMES),
    "spaced_llama2": (spaced.llama2, templates.LLAMA2, SPACED_NAMES),
    "spaced_first": (spaced.llama2_first, templates.LLAMA2, SPACED_NAMES),
    "spaced_begins": (spaced.llama2_first, templates.FALCON3, SPACED_NAMES),
}
# Its special tokens take the white space of messages beside them.
STRIPPING = {"stripping": (spaced.metaspace, templates.QWEN2, {})}

CONTENT = (
    "", " ", "\n", "\t ", "\u00a0", "\u3000", "\x1c", "\u200b", "Hello", "hello there", "it's", "3.14",
    "Größe", "e\u0301", "漢字", "👍🏽",
    "<b>&amp;</b>", "{{ x }}", "user", "assistant", "system", "Assistant: ", "<|", "|>", "\r\n", "  two  ",
    "def f(x):\n    return x\n", "<think>\nso\n</think>\n\n", "</think>",
)  # fmt: skip


def printed(template: str, messages: Messages, generate: bool, names: dict[str, str]) -> str:
    conversation = [{"role": role, "content": content} for role, content in messages]
    texts, _ = render_jinja_template(
        [conversation], chat_template=template, add_generation_prompt=generate, **names
    )
    return str(texts[0])


def random_conversation(source: random.Random) -> Messages:
    if source.random() < 0.7:  # the usual order
        roles = ["system"] * (source.random() < 0.5) + [
            ROLES[1 + i % 2] for i in range(source.randrange(1, 7))
        ]
    else:
        roles = [source.choice(ROLES) for _ in range(source.randrange(1, 6))]
    return [(role, "".join(source.choice(CONTENT) for _ in range(source.randrange(4)))) for role in roles]


def bos_of(tokenizer: Tokenizer, names: dict[str, str]) -> int | None:
    bos = tokenizer.token_to_id(names.get("bos_token", "<|begin_of_text|>"))
    return None if bos is None else int(bos)


def expected_ids(tokenizer: Tokenizer, text: str, bos: int | None) -> list[int]:
    """The printed conversation tokenized, with one beginning-of-sequence token where the tokenizer has
    one."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return ids if bos is None or ids[:1] == [bos] else [bos, *ids]


def open_chat(tokenizer: Tokenizer, template: str | None, names: dict[str, str]) -> Text:
    table = build_text_table(make.content(tokenizer), template, bos_of(tokenizer, names), [], names)
    return Text(table)


@pytest.mark.parametrize("name", [*REPRESENTED, *STRIPPING])
def test_ids_are_those_of_the_printed_conversation(name: str) -> None:
    make_tokenizer, template, names = (REPRESENTED | STRIPPING)[name]
    tokenizer = make_tokenizer()
    native = open_chat(tokenizer, template, names)
    source = random.Random(name)
    compared = 0
    for _ in range(400):
        messages, generate = random_conversation(source), source.random() < 0.5
        try:
            expected = expected_ids(
                tokenizer, printed(template, messages, generate, names), bos_of(tokenizer, names)
            )
        except Exception:  # whatever the template raises
            with pytest.raises(Refused):
                native.chat(messages, generate)
            continue
        try:
            assert native.chat(messages, generate) == expected, messages
            compared += 1
        except Refused as reason:
            # the template drops a message without a word, or knows the end or the system message otherwise
            ours = ("would not be printed", "end with a user's message", "has to be the first")
            assert any(text in str(reason) for text in ours)
    assert compared > (50 if name == "qwen3" else 120)


def test_the_format_of_bitnet_2b_4t() -> None:
    """One BOS, "Role: content", end of turn; the prompt for the answer is "Assistant: ", its space a token of
    its own."""
    tokenizer = make.llama3()
    native = open_chat(tokenizer, templates.BITNET, LLAMA_NAMES)
    bos, end = tokenizer.token_to_id("<|begin_of_text|>"), tokenizer.token_to_id("<|eot_id|>")

    def piece(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    ids = native.chat([("system", "Be brief. "), ("user", "\nHi!")])
    assert ids == [bos, *piece("System: Be brief."), end, *piece("User: Hi!"), end, *piece("Assistant: ")]
    assert ids[-1] == piece(" ")[0]
    assert native.chat([("user", "Hi!")], generate=False) == [bos, *piece("User: Hi!"), end]


@pytest.mark.parametrize("name", REPRESENTED)
def test_a_message_never_becomes_a_special_token(name: str) -> None:
    tokenizer, template, names = REPRESENTED[name][0](), *REPRESENTED[name][1:]
    native = open_chat(tokenizer, template, names)
    specials = [*make.LLAMA3_SPECIAL, *make.CHATML_SPECIAL]
    plain = native.chat([("user", "x")])
    for special in specials:
        ids = native.chat([("user", special)])
        assert special.encode() in native.detokenize(ids)
        assert [token for token in ids if native.is_special(token)] == [
            token for token in plain if native.is_special(token)
        ]


def test_without_a_template_chat_says_so() -> None:
    native = open_chat(make.llama3(), None, {})
    with pytest.raises(Refused, match="this model has no chat template"):
        native.chat([("user", "hi")])


def test_unknown_roles_and_wrong_orders_are_named() -> None:
    gemma = open_chat(make.llama3(), templates.GEMMA, LLAMA_NAMES)
    with pytest.raises(Refused, match='message 2: unknown role "tool"'):
        gemma.chat([("user", "hi"), ("tool", "42")])
    with pytest.raises(Refused, match=r"message 1: .*System role not supported"):
        gemma.chat([("system", "x"), ("user", "hi")])
    with pytest.raises(Refused, match=r"message 2: .*Conversation roles must alternate"):
        gemma.chat([("user", "hi"), ("user", "again")])


def test_messages_that_are_not_utf8_are_repaired() -> None:
    native = open_chat(make.llama3(), templates.BITNET, LLAMA_NAMES)
    assert native.chat([("user", b"a\xff \xe2\x82 ")]) == native.chat([("user", "a\ufffd \ufffd")])


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (templates.THINKING, "depends on more than the roles"),
        (templates.NUMBERED, "depends on more than the roles"),
        (templates.LAST_DIFFERS, "depends on more than the roles"),
        (templates.DATED, "today's date"),
        ("{% for m in messages %}", "line 1"),
        ("{{ pad_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}", "pad_token"),
        ("{{ raise_exception('never') }}", "no conversation can begin: never"),
        ("{{ 'nothing of it' }}", "no conversation can begin"),
        (
            "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
            "no conversation can begin|depends",
        ),
        ("{% for m in messages %}{{ m['content'] | replace('a', 'b') }}{% endfor %}", "depends on more"),
    ],
)
def test_other_templates_are_refused_with_the_reason(template: str, reason: str) -> None:
    with pytest.raises(ChatTemplateError, match=reason):
        open_chat(make.llama3(), template, LLAMA_NAMES)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (AddedToken("<end>", normalized=True), "normalized behind a Prepend"),
        (AddedToken("<end>", normalized=False, single_word=True), "single_word"),
    ],
)
def test_special_tokens_that_are_found_in_some_places_only_are_refused(token: AddedToken, why: str) -> None:
    tokenizer = Tokenizer.from_str(spaced.llama2().to_str())
    tokenizer.add_special_tokens([token])
    with pytest.raises(ChatTemplateError, match=f"prints '<end>', which tokenizer.json makes {why}"):
        open_chat(tokenizer, "{% for m in messages %}{{ m['content'] + '<end>' }}{% endfor %}", {})


def test_an_eos_token_of_several_stops_has_to_be_named() -> None:
    tokenizer = make.llama3()
    stops = [tokenizer.token_to_id(text) for text in ("<|end_of_text|>", "<|eot_id|>")]
    template = "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
    with pytest.raises(ChatTemplateError, match="eos_token"):
        build_text_table(make.content(tokenizer), template, None, stops)
    named = Text(
        build_text_table(make.content(tokenizer), template, None, stops, {"eos_token": "<|eot_id|>"})
    )
    single = Text(build_text_table(make.content(tokenizer), template, None, stops[1:]))
    assert named.chat([("user", "a")]) == single.chat([("user", "a")])
    assert named.chat([("user", "a")])[-1] == stops[1]
