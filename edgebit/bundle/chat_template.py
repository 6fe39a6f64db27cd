"""Hugging Face chat templates: jinja2 with the environment of ``transformers`` ``apply_chat_template``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgebit.errors import ChatTemplateError

Message = tuple[str, str]
"""(role, content)"""


class TemplateRefusal(Exception):
    """The template itself rejects a conversation (raise_exception), in its own words."""


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}…{% endgeneration %}`` marks what the assistant wrote, for training; it prints its
    body."""

    tags = {"generation"}  # noqa: RUF012 (declared so by jinja2)

    def parse(self, parser: Any) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        body: list[jinja2.nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return body


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefusal(message)


def _strftime_now(_: str) -> NoReturn:
    raise ChatTemplateError("chat template: it prints today's date, which a compiled bundle cannot")


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the HTML escapes of jinja2's own filter."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


@dataclass(frozen=True)
class ChatTemplate:
    """A parsed template. ``literals`` are the strings in its source: text it may look for in messages."""

    compiled: jinja2.Template
    special_tokens: Mapping[str, str]
    literals: Sequence[str]

    def mentions(self, text: str) -> bool:
        return any(text in literal for literal in self.literals)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """Raises TemplateRefusal when the template refuses the conversation."""
        conversation = [{"role": role, "content": content} for role, content in messages]
        try:
            return self.compiled.render(
                messages=conversation,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.special_tokens,
            )
        except (TemplateRefusal, ChatTemplateError):
            raise
        except Exception as reason:  # templates index and call what they like
            raise TemplateRefusal(f"{type(reason).__name__}: {reason}") from None


def parse_template(source: str, special_tokens: Mapping[str, str]) -> ChatTemplate:
    """Raises ChatTemplateError for a template that does not parse or prints a token whose text is not
    known."""
    environment = _environment()
    try:
        tree = environment.parse(source)
        compiled = environment.from_string(source)
    except jinja2.TemplateSyntaxError as reason:
        raise ChatTemplateError(f"chat template: line {reason.lineno}: {reason.message}") from None
    for name in sorted(jinja2.meta.find_undeclared_variables(tree)):
        if name in ("bos_token", "eos_token", "pad_token", "unk_token") and name not in special_tokens:
            raise ChatTemplateError(
                f"chat template: it prints {name}, whose text is not known; pass "
                f"special_tokens={{{name!r}: …}}"
            )
    literals = {node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)}
    return ChatTemplate(compiled, dict(special_tokens), sorted(literals - {""}))
