"""tokenizer.json and the files beside it."""

from __future__ import annotations

from typing import Any

from tests.malformed.damage import WRONG, Case, Cases, broken_text, change_tree, put, remove, too_much_text

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"


def _tokenizer(change: Any) -> Case:
    return change_tree(TOKENIZER, change)


def _wrong_types() -> dict[str, Case]:
    """Parts of tokenizer.json with something else in their place."""
    allowed = {
        ("model",): set(),
        ("model", "vocab"): set(),
        ("model", "merges"): set(),
        ("added_tokens",): set(),
        ("pre_tokenizer",): set(),
        ("post_processor",): {"null"},
        ("decoder",): set(),
        ("normalizer",): {"null"},
    }
    return {
        f"{'.'.join(path)} {kind}": _tokenizer(put(*path, value=value))
        for path, fine in allowed.items()
        for kind, value in WRONG.items()
        if kind in ("null", "true", "text", "number", "lists", "object", "objects") and kind not in fine
    }


def _added(field: str, value: Any) -> Case:
    return _tokenizer(put("added_tokens", -1, field, value=value))


def cases() -> Cases:
    template = ("post_processor", "processors", 1)
    return {
        **broken_text(TOKENIZER),
        **too_much_text(TOKENIZER),
        **_wrong_types(),
        "model type unknown": _tokenizer(put("model", "type", value="Sparkle")),
        "vocabulary id text": _tokenizer(put("model", "vocab", "!", value="x")),
        "vocabulary id negative": _tokenizer(put("model", "vocab", "!", value=-1)),
        "vocabulary id huge": _tokenizer(put("model", "vocab", "!", value=10**30)),
        "vocabulary id past 32 bits": _tokenizer(put("model", "vocab", "!", value=2**32)),
        "vocabulary id far outside": _tokenizer(put("model", "vocab", "!", value=2**31)),
        "vocabulary id twice": _tokenizer(put("model", "vocab", "!", value=40)),
        "byte missing": _tokenizer(remove("model", "vocab", "!")),
        "merge of unknown words": _tokenizer(put("model", "merges", 0, value=["no", "such"])),
        "merge of three": _tokenizer(put("model", "merges", 0, value=["a", "b", "c"])),
        "merge number": _tokenizer(put("model", "merges", 0, value=7)),
        "merge of numbers": _tokenizer(put("model", "merges", 0, value=[1, 2])),
        "added id text": _added("id", "x"),
        "added id negative": _added("id", -5),
        "added id huge": _added("id", 10**30),
        "added id outside": _added("id", 2**31),
        "added content number": _added("content", 7),
        "added content empty": _added("content", ""),
        "added content missing": _tokenizer(remove("added_tokens", -1, "content")),
        "added flag text": _added("special", "yes"),
        "added lstrip": _added("lstrip", "maybe"),
        "added twice": _tokenizer(
            lambda tree: tree["added_tokens"].append(tree["added_tokens"][0] | {"id": 5})
        ),
        "pattern broken": _tokenizer(
            put("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", value="(((((")
        ),
        "pattern catastrophic": _tokenizer(
            put("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", value="(a+)+$" * 50)
        ),
        "pattern missing": _tokenizer(remove("pre_tokenizer", "pretokenizers", 0, "pattern")),
        "behavior number": _tokenizer(put("pre_tokenizer", "pretokenizers", 0, "behavior", value=1)),
        "pre-tokenizers object": _tokenizer(put("pre_tokenizer", "pretokenizers", value={})),
        "decoder unknown": _tokenizer(put("decoder", "type", value="Sparkle")),
        "processor unknown": _tokenizer(put("post_processor", "processors", 1, "type", value="Sparkle")),
        "template of nothing": _tokenizer(put(*template, "single", value=[])),
        "template number": _tokenizer(put(*template, "single", value=7)),
        "template of unknown token": _tokenizer(
            put(*template, "single", 0, "SpecialToken", "id", value="<|none|>")
        ),
        **broken_text(SETTINGS),
        **{
            f"bos_token {kind}": change_tree(SETTINGS, put("bos_token", value=WRONG[kind]))
            for kind in ("number", "list", "true")
        },
        "eos_token unknown": change_tree(SETTINGS, put("eos_token", value="<|none|>")),
        "add_bos_token text": change_tree(SETTINGS, put("add_bos_token", value="maybe")),
        **{
            f"chat_template {kind}": change_tree(SETTINGS, put("chat_template", value=value))
            for kind, value in {
                "number": 7,
                "object": {},
                "numbers": [1, 2],
                "broken": "{% for %}",
                "endless": "{% for i in range(10**9) %}{{ i }}{% endfor %}",
                "of a big power": "{{ 10 ** 10 ** 10 }}",
                "of a long text": "{{ 'x' * 10**10 }}",
                "of long lists": "{{ ([0] * 10**9) | length }}",
                "that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                "that looks around": "{{ messages.__class__.__mro__ }}",
            }.items()
        },
        **broken_text(SPECIAL),
    }
