"""The tokenizer of a checkpoint: files, the token before a prompt, the tokens that end one, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebit.errors import ChatTemplateError, TokenizerError
from edgebit.model.config import ModelConfig, token_ids
from edgebit.model.jsonfile import quoted, read_json, read_optional_json

TOKENIZER_FILE = "tokenizer.json"
# What travels beside model.onnx, for edgebit and for other users of the exported graph.
COMPANION_FILES = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class TokenizerFiles:
    """``files`` maps the name of every companion file to its content; tokenizer.json is always there."""

    folder: Path
    files: Mapping[str, bytes]
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    chat_template: str | None
    eos_token_id: int | None = None  # behind a text, where the tokenizer itself puts one there

    @property
    def tokenizer_json(self) -> bytes:
        return self.files[TOKENIZER_FILE]


def read_tokenizer(folder: Path, config: ModelConfig) -> TokenizerFiles:
    """Read the tokenizer files of ``folder``. Raises TokenizerError or ChatTemplateError naming the file."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise TokenizerError(
            f"{folder}: no {TOKENIZER_FILE}; save the tokenizer in the fast format of transformers"
        )
    tokenizer = read_json(path, TokenizerError)
    _check_tokens(tokenizer, path)
    settings = _Settings(
        tokenizer_path=path,
        tokenizer=tokenizer,
        config=read_optional_json(folder / "tokenizer_config.json", TokenizerError),
        special=read_optional_json(folder / "special_tokens_map.json", TokenizerError) or {},
        generation=read_optional_json(folder / "generation_config.json", TokenizerError) or {},
    )
    files = {name: (folder / name).read_bytes() for name in COMPANION_FILES if (folder / name).is_file()}
    tokenizer_files = TokenizerFiles(
        folder=folder,
        files=files,
        bos_token_id=settings.bos(config),
        stop_token_ids=settings.stops(config),
        chat_template=_chat_template(folder, settings.config or {}),
        eos_token_id=settings.eos(),
    )
    check_range(tokenizer_files, config.vocab_size)
    return tokenizer_files


@dataclass(frozen=True)
class _Settings:
    """The JSON files that together say which special tokens a model uses."""

    tokenizer_path: Path
    tokenizer: Mapping[str, Any]
    config: Mapping[str, Any] | None
    special: Mapping[str, Any]
    generation: Mapping[str, Any]

    def bos(self, config: ModelConfig) -> int | None:
        """The token the tokenizer itself would prepend.

        A model may declare a bos_token_id that its tokenizer never emits (GPT-2 and Falcon3 do): prepending
        it would change the answer, so the id counts only where the tokenizer says it is added, by
        add_bos_token or by its post-processor.
        """
        if self.config is None:
            return config.bos_token_id
        declared = self._special_token("bos_token")
        adds = self.config.get("add_bos_token")
        if adds not in (None, True, False):
            raise self._error(f"add_bos_token is {quoted(adds)}, expected true or false")
        if declared is None or adds is False:
            return None
        if adds or _prepends(self.tokenizer.get("post_processor"), declared):
            return self._id(declared)
        return None

    def eos(self) -> int | None:
        """The token the tokenizer itself would append, as `bos` is found."""
        adds = (self.config or {}).get("add_eos_token")
        appended = _appended(self.tokenizer.get("post_processor"))
        if appended is None and adds is True:
            appended = self._special_token("eos_token")
        return None if appended is None or adds is False else self._id(appended)

    def stops(self, config: ModelConfig) -> tuple[int, ...]:
        """config ∪ generation_config ∪ the tokenizer's eos token, ascending (2B-4T: 128001 and 128009)."""
        generation = token_ids(
            self.generation.get("eos_token_id"), f"{self.tokenizer_path.parent}/generation_config.json"
        )
        stops = {*config.eos_token_ids, *generation}
        eos = self._special_token("eos_token")
        if eos is not None:
            stops.add(self._id(eos))
        return tuple(sorted(stops))

    def _special_token(self, key: str) -> str | None:
        """A special token's text: a string, or an object with "content" in older files."""
        for source in (self.config or {}, self.special):
            value = source.get(key)
            if isinstance(value, dict):
                value = value.get("content")
            if isinstance(value, str):
                return value
            if value is not None:
                raise self._error(f"{key} is {quoted(value)}, expected a text or an object with one")
        return None

    def _error(self, message: str) -> TokenizerError:
        return TokenizerError(f"{self.tokenizer_path.parent}/tokenizer_config.json: {message}")

    def _id(self, token: str) -> int:
        for added in self.tokenizer.get("added_tokens") or ():
            if added.get("content") == token:
                return int(added["id"])
        vocabulary = (self.tokenizer.get("model") or {}).get("vocab")
        if isinstance(vocabulary, dict) and token in vocabulary:
            return int(vocabulary[token])
        raise TokenizerError(
            f"{self.tokenizer_path}: has no token {token!r}, which tokenizer_config.json names"
        )


def _prepends(post_processor: Any, token: str) -> bool:
    """Whether a tokenizer.json post-processor puts ``token`` before a single text."""
    if not isinstance(post_processor, dict):
        return False
    if post_processor.get("type") == "Sequence":
        return any(_prepends(part, token) for part in post_processor.get("processors") or ())
    template = post_processor.get("single") or [{}]
    try:
        return bool(template[0].get("SpecialToken", {}).get("id") == token)
    except (AttributeError, TypeError, KeyError):
        return False  # no template: the reader of tokenizer.json says so


def _check_tokens(tokenizer: Mapping[str, Any], path: Path) -> None:
    """Raises TokenizerError unless every added token has a text and an id."""
    added = tokenizer.get("added_tokens") or []
    if not isinstance(added, list):
        raise TokenizerError(f"{path}: added_tokens is {quoted(added)}, expected a list")
    for entry in added:
        fine = (
            isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("content"), str)
        )
        if not fine:
            raise TokenizerError(f"{path}: {quoted(entry)} is no added token with an id and a content")


def read_chat_template(folder: Path) -> str | None:
    """The template beside a model. Raises ChatTemplateError, TokenizerError."""
    return _chat_template(folder, read_optional_json(folder / "tokenizer_config.json", TokenizerError) or {})


def _appended(post_processor: Any) -> str | None:
    """The token a tokenizer.json post-processor puts behind a single text."""
    if not isinstance(post_processor, dict):
        return None
    if post_processor.get("type") == "Sequence":
        found = (_appended(part) for part in post_processor.get("processors") or ())
        return next((token for token in found if token is not None), None)
    template = post_processor.get("single") or [{}]
    try:
        token = template[-1].get("SpecialToken", {}).get("id")
        return token if len(template) > 1 and isinstance(token, str) else None
    except (AttributeError, TypeError, KeyError):
        return None  # no template: the reader of tokenizer.json says so


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja wins over tokenizer_config.json, as in transformers; of several "default" is it."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as reason:
            raise ChatTemplateError(f"{path}: cannot be read as UTF-8 ({reason})") from None
    template = config.get("chat_template")
    if isinstance(template, list):
        named = [entry for entry in template if isinstance(entry, dict)]
        if len(named) < len(template):
            raise ChatTemplateError(
                f"{folder}/tokenizer_config.json: chat_template is {quoted(template)}, expected named ones"
            )
        template = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    if template is not None and not isinstance(template, str):
        found = json.dumps(template)[:60]
        raise ChatTemplateError(f"{folder}/tokenizer_config.json: chat_template is {found}, expected text")
    return template


def check_range(tokenizer: TokenizerFiles, vocab_size: int) -> None:
    """Raises TokenizerError where a special token is outside the vocabulary."""
    for token in (
        *tokenizer.stop_token_ids,
        *(() if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)),
        *(() if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)),
    ):
        if token >= vocab_size:
            raise TokenizerError(
                f"{tokenizer.folder}: special token id {token} is outside the vocabulary of {vocab_size}"
            )
