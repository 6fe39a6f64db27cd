"""Where edgebit/bundle/unicode_tables.py comes from: what the `tokenizers` library itself does with every
code point.

Its regular expressions and its normalizer follow different Unicode versions, and neither is Python's; so each
table is measured, not looked up. ``python -m tests.text.unicode_probe`` writes the file; a test compares it
with a new measurement.
"""

from __future__ import annotations

import base64
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models
from tokenizers.normalizers import NFC, NFD
from tokenizers.pre_tokenizers import Digits, Punctuation, Split

CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
WORD = 8
LAST = "\U0010fffd"  # nobody's neighbour
LOWEST_MARK, COMMON_MARK = "\u0334", "\u0301"  # combining classes 1 and 230


def class_starts(in_words: set[int]) -> list[int]:
    """Sorted ``first code point << 4 | class``: 0 other, 1 letter, 2 number, 3 white space, 4 punctuation, 5
    what only ``Digits`` takes for a number; and WORD, what the added tokens take for a part of a word."""
    members = [
        removed(Split(Regex(r"\p{L}+"), "removed")),
        removed(Split(Regex(r"\p{N}+"), "removed")),
        removed(Split(Regex(r"\s+"), "removed")),
        removed(Punctuation("removed")),
    ]
    members.append(numeric() - members[1])
    classes = dict.fromkeys(CODE_POINTS, 0)
    for number, codes in enumerate(members, 1):
        assert not any(classes[code] for code in codes)
        classes |= dict.fromkeys(codes, number)
    for code in in_words:
        classes[code] |= WORD
    starts, before = [], -1
    for code, number in classes.items():
        if number != before:
            starts.append(code << 4 | number)
        before = number
    return starts


def removed(splitter: Split | Punctuation) -> set[int]:
    """The code points that a pre-tokenizer takes away."""
    everything = "".join(map(chr, CODE_POINTS))
    codes, end = set(), 0
    for _, (begin, following) in [
        *splitter.pre_tokenize_str(everything),
        ("", (len(everything), len(everything))),
    ]:
        codes.update(CODE_POINTS[end:begin])
        end = following
    return codes


def numeric() -> set[int]:
    pieces = Digits(individual_digits=True).pre_tokenize_str("a".join(map(chr, CODE_POINTS)))
    return {ord(piece) for piece, _ in pieces if len(piece) == 1} - {ord("a")}


def words(among: Sequence[int] = CODE_POINTS) -> set[int]:
    """The code points beside which a token that has to stand alone is not found."""
    tokenizer = Tokenizer(models.BPE(vocab={"x": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken(f"{LAST}q", single_word=True, normalized=False)])
    texts = [
        "\n".join(f"{chr(code)}{LAST}q" for code in among[at : at + 256]) for at in range(0, len(among), 256)
    ]
    found = set()
    for at, encoding in enumerate(tokenizer.encode_batch(texts)):
        alone = {
            begin // 4 for (begin, _), token in zip(encoding.offsets, encoding.ids, strict=True) if token
        }
        found |= {256 * at + i for i in range(256)} - {256 * at + i for i in alone}
    return {among[i] for i in found if i < len(among)}


def changed_by_nfd() -> set[int]:
    lines = NFD().normalize_str("\0".join(map(chr, CODE_POINTS[1:]))).split("\0")
    return {code for code, line in zip(CODE_POINTS[1:], lines, strict=True) if line != chr(code)}


def combining_class(code: int) -> int:
    """Python's class if the normalizer knows the mark (it then moves past others), 0 otherwise."""
    expected = unicodedata.combining(chr(code))
    if expected == 0:
        return 0
    pair = chr(code) + LOWEST_MARK if expected > 1 else COMMON_MARK + chr(code)
    return expected if NFD().normalize_str("a" + pair) != "a" + pair else 0


def decompositions() -> list[tuple[int, int, int]]:
    """Sorted ``(code << 8 | combining class, first, second)``; first 0: only a mark, second 0: a
    singleton."""
    changed = changed_by_nfd()
    entries = []
    for code in CODE_POINTS:
        mark = combining_class(code)
        if code in changed and not 0xAC00 <= code < 0xD7A4:
            halves = [int(half, 16) for half in unicodedata.decomposition(chr(code)).split()]
            assert len(halves) in (1, 2) and (len(halves) == 1 or halves[1] not in changed)
            entries.append((code << 8 | mark, halves[0], halves[1] if len(halves) == 2 else 0))
        elif mark:
            entries.append((code << 8 | mark, 0, 0))
    return entries


def compositions() -> list[tuple[int, int, int]]:
    """Sorted ``(first, second, composed)``."""
    found = []
    for key, first, second in decompositions():
        if second and NFC().normalize_str(chr(first) + chr(second)) == chr(key >> 8):
            found.append((first, second, key >> 8))
    return sorted(found)


def encoded(values: list[int]) -> str:
    """Differences are small: they compress better than the values."""
    steps = [value - before for before, value in zip([0, *values], values, strict=False)]
    return base64.b85encode(zlib.compress(struct.pack(f"<{len(steps)}i", *steps), 9)).decode()


def literal(name: str, comment: str, values: list[int]) -> str:
    text = encoded(values)
    lines = [f'    "{text[i : i + 100]}"' for i in range(0, len(text), 100)]
    return f"# {comment}\n{name} = _decoded(\n" + "\n".join(lines) + "\n)\n"


def columns(rows: list[tuple[int, int, int]]) -> list[int]:
    return [row[column] for column in range(3) for row in rows]


def module() -> str:
    header = '''"""Generated by ``python -m tests.text.unicode_probe``, from the `tokenizers` library."""

from __future__ import annotations

import base64
import struct
import zlib
from itertools import accumulate


def _decoded(text: str) -> tuple[int, ...]:
    packed = zlib.decompress(base64.b85decode(text))
    return tuple(accumulate(struct.unpack(f"<{len(packed) // 4}i", packed)))


'''
    return header + "\n".join(
        [
            literal(
                "CLASS_STARTS",
                "first code point << 4 | class (other, letter, number, space, punctuation, late), 8: word",
                class_starts(words()),
            ),
            literal(
                "DECOMPOSITIONS",
                "columns: code point << 8 | combining class; first half; second half",
                columns(decompositions()),
            ),
            literal("COMPOSITIONS", "columns: first half; second half; composed", columns(compositions())),
        ]
    )


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "edgebit" / "bundle" / "unicode_tables.py"
    target.write_text(module(), encoding="utf-8")
    print(target)
