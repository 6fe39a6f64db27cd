"""Tokenizer files: which token starts a prompt, which end an answer, which template is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgebit.errors import ChatTemplateError, ConfigError, TokenizerError
from edgebit.model.config import read_config
from edgebit.model.tokenizer import TokenizerFiles, read_tokenizer
from tests.builders import (
    BOS,
    CHAT_TEMPLATE,
    END_OF_TEXT,
    END_OF_TURN,
    TINY,
    change_json,
    special_id,
    write_checkpoint,
)

BOS_ID, TEXT_ID, TURN_ID = (special_id(TINY.vocab_size, token) for token in (BOS, END_OF_TEXT, END_OF_TURN))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", "packed")


def read(folder: Path) -> TokenizerFiles:
    return read_tokenizer(folder, read_config(folder))


def test_the_files_of_a_bitnet_checkpoint(folder: Path) -> None:
    tokenizer = read(folder)
    assert tokenizer.bos_token_id == BOS_ID
    assert tokenizer.stop_token_ids == (TEXT_ID, TURN_ID)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert tokenizer.tokenizer_json == (folder / "tokenizer.json").read_bytes()
    assert set(tokenizer.files) == {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
    }


def test_stop_tokens_are_the_union_of_three_sources(folder: Path) -> None:
    change_json(folder / "config.json", eos_token_id=5)
    change_json(folder / "generation_config.json", eos_token_id=[6, 7])
    assert read(folder).stop_token_ids == (5, 6, 7, TURN_ID)
    (folder / "generation_config.json").unlink()
    change_json(folder / "tokenizer_config.json", eos_token={"content": END_OF_TEXT, "special": True})
    assert read(folder).stop_token_ids == (5, TEXT_ID)


def test_special_tokens_map_names_what_tokenizer_config_leaves_out(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", eos_token=None, bos_token=None)
    assert read(folder).bos_token_id == BOS_ID
    assert TURN_ID in read(folder).stop_token_ids


def without_post_processor(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))


def test_a_bos_that_the_tokenizer_never_emits_is_not_prepended(folder: Path) -> None:
    without_post_processor(folder)
    assert read(folder).bos_token_id is None
    change_json(folder / "tokenizer_config.json", add_bos_token=True)
    assert read(folder).bos_token_id == BOS_ID


def test_add_bos_token_false_is_respected(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", add_bos_token=False)
    assert read(folder).bos_token_id is None


def test_config_decides_about_bos_where_no_tokenizer_config_exists(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").unlink()
    assert read(folder).bos_token_id == BOS_ID


def test_a_jinja_file_wins_over_tokenizer_config(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 'ü' }}", encoding="utf-8")
    assert read(folder).chat_template == "{{ 'ü' }}"
    assert "chat_template.jinja" in read(folder).files


def test_the_default_of_several_templates(folder: Path) -> None:
    named = [{"name": "tool_use", "template": "A"}, {"name": "default", "template": "B"}]
    change_json(folder / "tokenizer_config.json", chat_template=named)
    assert read(folder).chat_template == "B"


def test_no_template_is_no_error(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", chat_template=None)
    assert read(folder).chat_template is None


def test_a_template_that_is_no_text_is_refused(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", chat_template={"a": 1})
    with pytest.raises(ChatTemplateError, match=r"chat_template is .*, expected text"):
        read(folder)
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ChatTemplateError, match="cannot be read as UTF-8"):
        read(folder)


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json; save the tokenizer in the fast format"):
        read(folder)


@pytest.mark.parametrize(
    ("file", "changes", "error", "complaint"),
    [
        ("tokenizer_config.json", {"eos_token": "<nowhere>"}, TokenizerError, "has no token '<nowhere>'"),
        ("generation_config.json", {"eos_token_id": "x"}, ConfigError, "token id 'x'"),
        (
            "generation_config.json",
            {"eos_token_id": 9999},
            TokenizerError,
            "id 9999 is outside the vocabulary of 320",
        ),
    ],
)
def test_tokens_that_do_not_exist_are_refused(
    folder: Path, file: str, changes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    change_json(folder / file, **changes)
    with pytest.raises(error) as caught:
        read(folder)
    assert complaint in str(caught.value)


def test_a_broken_tokenizer_file_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not valid JSON"):
        read(folder)
