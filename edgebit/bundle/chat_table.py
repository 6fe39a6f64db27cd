"""A chat template compiled into a table: what it prints between two messages depends on their roles alone.

Rules:
1. Cell (a, b) is the text between a message of role a and the next of role b; a may be START; b may be END or
   GENERATE (the end with the prompt for an answer). This covers a beginning-of-sequence token, a default
   system prompt, and templates that refuse an order of roles.
2. Of a message only its content is printed, as it is, stripped of white space on either side, or without what
   was thought (all up to "</think>"): facts of the cell before it.
3. All are found by rendering marker messages with jinja2, and then verified: VERIFIED_CONVERSATIONS random
   ones must come out of the table exactly as out of jinja2. A template of any other kind fails there.
4. It is tried again for fewer conversations (``Domain``), and the table refuses all others: those that are
   answered, for Qwen3 prints an answer otherwise where it is the last message; those whose system message is
   the first, for Gemma 3 knows of no other. What fails here too is refused.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgebit.bundle.chat_template import ChatTemplate, Message, TemplateRefusal, parse_template
from edgebit.bundle.text_steps import Prefix
from edgebit.bundle.text_tokenizer import TokenizerFacts
from edgebit.errors import ChatTemplateError

ROLES = ("system", "user", "assistant")
START = len(ROLES)  # a row
END, GENERATE = len(ROLES), len(ROLES) + 1  # columns
COLUMNS = len(ROLES) + 2
VERIFIED_CONVERSATIONS = 2000

_SYSTEM, _USER = ROLES.index("system"), ROLES.index("user")
# Private-use characters: no template looks for them, no filter changes them.
_MARKS = tuple(f"\ue000{number}\ue001" for number in range(len(ROLES) + 1))
_OTHER = "\ue002"
_BLANK = " \t\n\u3000"
_THOUGHT = "</think>"

# The table refuses here although jinja2 prints something: a message that vanishes is worse than an error.
_UNREACHABLE = "no conversation leads here"
_DROPPED = "a message of this role would not be printed"
_NOT_ANSWERED = "the template prints such an end otherwise; end with a user's message and ask for an answer"
_NOT_FIRST = "a system message has to be the first"
_OWN_REFUSALS = (_UNREACHABLE, _DROPPED, _NOT_ANSWERED, _NOT_FIRST)


@dataclass(frozen=True)
class ChatCell:
    """``items``: text, and ids of special tokens. ``trim_*``: of the content that follows, after what was
    thought was taken away (``drop_thought``). ``refusal``: why the template does not allow these two roles in
    a row, or None."""

    items: tuple[str | int, ...] = ()
    trim_left: bool = False
    trim_right: bool = False
    drop_thought: bool = False
    refusal: str | None = None

    @property
    def printed(self) -> bool:
        return self.refusal is None


@dataclass(frozen=True)
class Domain:
    """Conversations that a table is for. ``answered``: they end with a user's message and the prompt for an
    answer, and what poses in it as a tool's answer is text. ``system_first``: no system message follows."""

    answered: bool
    system_first: bool

    def refuses(self, row: int, column: int) -> str | None:
        """Why the two roles are not met in a row."""
        if self.system_first and row != START and column == _SYSTEM:
            return _NOT_FIRST
        if self.answered and column >= START and (column == END or row != _USER):
            return _NOT_ANSWERED
        return None


DOMAINS = tuple(Domain(answered, first) for answered in (False, True) for first in (False, True))


@dataclass(frozen=True)
class ChatTable:
    """``cells[from * COLUMNS + to]``, rows: the roles, then START; columns: the roles, then END and
    GENERATE."""

    roles: tuple[str, ...]
    cells: tuple[ChatCell, ...]

    def cell(self, row: int, column: int) -> ChatCell:
        return self.cells[row * COLUMNS + column]


def compile_chat_table(source: str, special_tokens: Mapping[str, str], facts: TokenizerFacts) -> ChatTable:
    """Raises ChatTemplateError where the template cannot be expressed so."""
    template = parse_template(source, special_tokens)
    texts = _verified_cells(template)
    ids = facts.special_tokens
    # Longest first: the added tokens are matched leftmost-longest in the printed conversation.
    found = re.compile(
        "|".join(re.escape(token.content) for token in sorted(facts.added, key=lambda t: -len(t.content)))
    )
    cells = tuple(
        replace(cell, items=_items(str(cell.items[0]), found, ids)) if cell.printed else cell
        for cell in texts
    )
    _check_tokens({item for cell in cells for item in cell.items if isinstance(item, int)}, facts)
    return ChatTable(ROLES, cells)


def _check_tokens(printed: set[int | str], facts: TokenizerFacts) -> None:
    """Special tokens of a table are tokens wherever they stand; the library finds some of them only in some
    places."""
    for token in facts.added:
        searched_late = token.normalized and facts.steps.prefix == Prefix.NORMALIZER
        if token.id in printed and (token.single_word or searched_late):
            why = "single_word" if token.single_word else "normalized behind a Prepend"
            raise ChatTemplateError(
                f"chat template: it prints {token.content!r}, which tokenizer.json makes {why}: whether that "
                "becomes the special token depends on the text beside it"
            )


def _verified_cells(template: ChatTemplate) -> list[ChatCell]:
    """Of the largest domain in which the template is a table."""
    reasons = []
    for domain in DOMAINS:
        try:
            cells = _probe(template, domain)
            _verify(template, cells, domain)
        except ChatTemplateError as reason:
            reasons.append(reason)
        else:
            return cells
    raise reasons[0]


def _items(text: str, added: re.Pattern[str], special: Mapping[str, int]) -> tuple[str | int, ...]:
    """Cut at special tokens. Added tokens that are not special stay text: the tokenizer finds them there."""
    if not added.pattern:
        return (text,) if text else ()
    items: list[str | int] = []
    begin = 0
    for match in added.finditer(text):
        if match.group() in special:
            items += [text[begin : match.start()], special[match.group()]]
            begin = match.end()
    items.append(text[begin:])
    return tuple(item for item in items if item != "")


def _probe(template: ChatTemplate, domain: Domain) -> list[ChatCell]:
    """All cells, each with its text as the one item."""
    paths: dict[int, list[int]] = {START: []}
    cells = [ChatCell(refusal=_UNREACHABLE)] * (COLUMNS * (START + 1))
    waiting = [START]
    while waiting:  # breadth first: the shortest conversation that ends with each role
        row = waiting.pop(0)
        for column in range(COLUMNS):
            cells[row * COLUMNS + column] = cell = _probe_cell(template, paths[row], column, domain)
            if cell.printed and column < START and column not in paths:
                paths[column] = [*paths[row], column]
                waiting.append(column)
    if len(paths) == 1:
        reason = cells[START * COLUMNS + _USER].refusal
        raise ChatTemplateError(f"chat template: no conversation can begin: {reason}")
    return cells


def _probe_cell(template: ChatTemplate, path: Sequence[int], column: int, domain: Domain) -> ChatCell:
    """With a message after it where it is not printed alone: Llama 2 keeps a system text for the first user
    turn."""
    refused = domain.refuses(path[-1] if path else START, column)
    if refused is not None:
        return ChatCell(refusal=refused)
    refusal = ChatCell(refusal=_DROPPED)
    followers: Sequence[tuple[int, ...]] = ((), *((role,) for role in range(START)))
    if domain.answered and column < START:
        followers = ((),) if column == _USER else ((_USER,),)
    for follower in followers if column < START else ((),):
        try:
            cell = _render_cell(template, path, column, follower, domain.answered)
        except TemplateRefusal as reason:
            if not follower:
                refusal = ChatCell(refusal=str(reason) or "refused by the template")
            continue
        if cell is not None:
            return cell
    return refusal


def _render_cell(
    template: ChatTemplate, path: Sequence[int], column: int, followers: Sequence[int], answered: bool
) -> ChatCell | None:
    """None: the message that the cell is about is not in the text."""
    before = [(ROLES[role], mark) for role, mark in zip(path, _MARKS, strict=False)]
    if column >= START:
        printed = template.render(before, column == GENERATE)
        return ChatCell((_after(printed, before),)) if all(mark in printed for _, mark in before) else None
    after = [(ROLES[role], "") for role in followers]
    mark = _MARKS[len(before)]

    def rendered(content: str) -> str:
        return template.render([*before, (ROLES[column], content), *after], answered)

    printed, spaced = rendered(mark), rendered(_BLANK + mark + _BLANK)
    thoughtful = rendered(_OTHER + _THOUGHT + "\n" + mark) if template.mentions(_THOUGHT) else _OTHER
    if printed.count(mark) != 1:
        return None
    return ChatCell(
        (_after(printed[: printed.index(mark)], before),),
        trim_left=_BLANK + mark not in spaced,
        trim_right=mark + _BLANK not in spaced,
        drop_thought=_OTHER not in thoughtful,
    )


def _after(printed: str, messages: Sequence[Message]) -> str:
    """What stands behind the last message."""
    return printed[printed.rindex(messages[-1][1]) + len(messages[-1][1]) :] if messages else printed


def print_conversation(
    cells: Sequence[ChatCell], roles: Sequence[int], contents: Sequence[str], generate: bool
) -> str:
    """The table's rendering, cells with one item of text; TemplateRefusal where a cell refuses."""
    out, row = "", START
    for column, content in zip([*roles, GENERATE if generate else END], [*contents, ""], strict=True):
        cell = cells[row * COLUMNS + column]
        if cell.refusal is not None:
            raise TemplateRefusal(cell.refusal)
        if cell.drop_thought and _THOUGHT in content:
            content = content.split(_THOUGHT)[-1].lstrip("\n")
        content = content.lstrip() if cell.trim_left else content
        out += str(cell.items[0]) + (content.rstrip() if cell.trim_right else content)
        row = column
    return out


def random_content(source: random.Random, literals: Sequence[str]) -> str:
    """Text that a template might treat specially: blanks at the ends, none at all, and its own literals."""
    pieces = [
        "",
        " ",
        "\n",
        "\u00a0",
        "\x1f",
        "hello",
        "Wörld",
        "it's 3.14",
        "<b>&amp;</b>",
        "{{ x }}",
        "漢字",
        "👍🏽",
        *literals,
    ]
    return "".join(source.choice(pieces) for _ in range(source.randrange(6)))


def random_roles(source: random.Random, cells: Sequence[ChatCell]) -> list[int]:
    """Mostly an order the table allows, sometimes any."""
    roles, row = [], START
    for _ in range(source.randrange(1, 8)):
        allowed = [role for role in range(START) if cells[row * COLUMNS + role].printed]
        row = source.choice(allowed) if allowed and source.random() < 0.95 else source.randrange(START)
        roles.append(row)
    return roles


def _verify(template: ChatTemplate, cells: Sequence[ChatCell], domain: Domain) -> None:
    source = random.Random(20240229)
    literals = [text for text in template.literals if not (domain.answered and "tool" in text)]
    for _ in range(VERIFIED_CONVERSATIONS):
        roles = random_roles(source, cells)
        if domain.answered and roles[-1] != _USER:
            roles.append(_USER)
        contents = [random_content(source, literals) for _ in roles]
        generate = domain.answered or source.random() < 0.5
        messages = [(ROLES[role], content) for role, content in zip(roles, contents, strict=True)]
        try:
            expected = template.render(messages, generate)
        except TemplateRefusal as reason:
            expected = f"refusal ({reason})"
        try:
            found = print_conversation(cells, roles, contents, generate)
        except TemplateRefusal as reason:
            found = expected if str(reason) in _OWN_REFUSALS else f"refusal ({reason})"
        if expected != found and not (expected.startswith("refusal (") and found.startswith("refusal (")):
            raise ChatTemplateError(
                "chat template: what it prints around a message depends on more than the roles of that "
                "message and the one "
                f"before, which edgebit cannot compile: for {messages} jinja2 gives {expected!r}, the table "
                f"{found!r}"
            )
