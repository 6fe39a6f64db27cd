"""Random strings out of what makes tokenizers differ."""

from __future__ import annotations

import random

PIECES = (
    # contractions, their case folds, and what only looks like them
    "'", "s", "S", "t", "T", "re", "RE", "Re", "rE", "ve", "m", "M", "ll", "lL", "d", "\u017f", "'s",
    "'\u017f", "'LL", "\u2019s", "ŉ",
    # white space and line ends, also those only some definitions know
    " ", " ", "  ", "   ", "\n", "\n\n", "\r", "\r\n", "\t", "\v", "\f", "\u00a0", "\u3000", "\u2003",
    "\u2028", "\u0085", "\x1c",
    "\u180e", "\u200b", "\ufeff", "\0",
    # digits and numbers
    "1", "12", "123", "1234", "0", "½", "²", "ⅷ", "٣", "५", "①", "𝟘",
    # letters
    "a", "b", "c", "d", "e", "ab", "abc", "the", "The", " the", "fox j", "Größe", "é", "éé", "İ", "ı", "ß",
    "ﬁ", "Ω", "漢", "字", "日本語",
    "한", "글", "ไทย", "हिन्दी", "עברית", "العربية", "ᄀ", "ᅡ", "ᆨ", "각",
    # marks, compositions in both forms, joiners, emoji
    "e\u0301", "a\u0308", "\u0301", "\u0327", "\u0334", "\u0344", "\u1e9b\u0323", "Å", "\u212b", "\u0958",
    "\u200d", "\ufe0f",
    "👍", "🏽", "👩", "👩‍👩‍👧", "🏳️‍🌈", "🇩🇪", "\U000e0067",
    # punctuation and code
    ".", "!", "...", "—", "…", "()", "$", "#", "_", "-", "//", "{", "}", "<|", "|>", "<", ">",
    # special and added tokens
    "<|eot_id|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>",
    "<tool>", "<tool>x",
    "<tool_call>", "</tool_call>",
    # of SentencePiece
    "\u2581", "\u2581\u2581", "\u2581the", "<s>", "</s>", "<unk>", "<0x0A>", "<start_of_turn>", "x y",
    "ab ", " the ",
)  # fmt: skip


def random_string(source: random.Random) -> str:
    out = []
    for _ in range(source.randrange(1, 13)):
        kind = source.random()
        if kind < 0.82:
            out.append(source.choice(PIECES))
        elif kind < 0.9:
            out.append(source.choice(PIECES) * source.randrange(2, 9))
        else:
            code = source.randrange(0x3000 if kind < 0.95 else 0x110000)
            out.append(chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd")
    return "".join(out)


def random_word(source: random.Random) -> str:
    """Of few different letters: many merges compete."""
    return "".join(source.choice("abcde 1\n") for _ in range(source.randrange(1, 40)))
