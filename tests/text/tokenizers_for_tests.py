"""Small tokenizers of every kind the native tokenizer knows, trained here on a few sentences."""

from __future__ import annotations

import functools
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

LLAMA3_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
CHATML_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CORPUS = (
    "The quick brown fox jumps over the lazy dog. It's what we'll do, they've said; I'd say we're DON'T!",
    "    def f(x):\n        return x ** 2  # 3.14159\n\n\nclass A:\r\n\tpass\r\n",
    "Ternary weights are minus one, zero and one; 1024 + 2048 = 3072, 100,000 tokens in 2026.",
    "Größe über alles; naïve café, ŉ ſ İı; Ελληνικά; Русский язык; עברית; العربية; हिन्दी; "
    "ไทย; 日本語の文章; 한국어 "
    "문장",
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 a\u0308 ½ ² ⅷ ① ٣ ५ \u200b\u00a0\u2003\u3000 …—–“”",
    "System: You are a helpful assistant.User: Hi!Assistant: Hello, how can I help you?",
)


def _trained(split: str | None, specials: tuple[str, ...], ignore_merges: bool, size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if split is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return tokenizer


def _with_bos(tokenizer: Tokenizer, bos: str) -> Tokenizer:
    template = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    tokenizer.post_processor = Sequence([ByteLevel(trim_offsets=False), template])
    return tokenizer


@functools.cache
def llama3() -> Tokenizer:
    return _with_bos(_trained(LLAMA3, LLAMA3_SPECIAL, ignore_merges=True, size=900), LLAMA3_SPECIAL[0])


@functools.cache
def gpt2() -> Tokenizer:
    return _trained(None, CHATML_SPECIAL[:1], ignore_merges=False, size=700)


@functools.cache
def gpt2_split() -> Tokenizer:
    """The same pattern written out, with tokens added in every way."""
    tokenizer = _trained(GPT2, CHATML_SPECIAL, ignore_merges=False, size=500)
    tokenizer.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("<tool>x", normalized=True), "fox j", "éé"]
    )
    return tokenizer


@functools.cache
def qwen2() -> Tokenizer:
    tokenizer = _trained(QWEN2, CHATML_SPECIAL, ignore_merges=False, size=800)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens(
        [AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=True)]
    )
    return tokenizer


@functools.cache
def plain_falcon() -> Tokenizer:
    """Four stages, two of them behind the spelling in bytes."""
    tokenizer = _trained(None, CHATML_SPECIAL, ignore_merges=False, size=600)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            pre_tokenizers.Digits(),
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
        ]
    )
    return tokenizer


@functools.cache
def falcon() -> Tokenizer:
    """With tokens that take white space, or stand alone."""
    tokenizer = Tokenizer.from_str(plain_falcon().to_str())
    tokenizer.add_special_tokens([AddedToken("<tool>", rstrip=True), AddedToken("<tool_call>", lstrip=True)])
    tokenizer.add_tokens(
        [AddedToken("abc", single_word=True), AddedToken("12", single_word=True, lstrip=True)]
    )
    return tokenizer


@functools.cache
def digits() -> Tokenizer:
    """Numbers first, as StarCoder cuts them; each digit, and each punctuation mark, by itself."""
    tokenizer = _trained(None, CHATML_SPECIAL, ignore_merges=False, size=500)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    return tokenizer


@functools.cache
def shuffled() -> Tokenizer:
    """Merges in an order no training gives: several merges with one product, and products before their
    parts."""
    import random

    source = random.Random(7)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {char: token for token, char in enumerate(alphabet)}
    words = list("abcdeĠĊ1")
    merges: dict[tuple[str, str], None] = {}
    for _ in range(400):
        left, right = source.choice(words), source.choice(words)
        if len(left + right) <= 6:
            merges[left, right] = None
            if left + right not in vocab:
                vocab[left + right] = len(vocab)
                words.append(left + right)
    order = list(merges)
    source.shuffle(order)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=order))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


ALL = {
    "llama3": llama3,
    "gpt2": gpt2,
    "gpt2_split": gpt2_split,
    "qwen2": qwen2,
    "falcon": falcon,
    "digits": digits,
    "shuffled": shuffled,
}


def content(tokenizer: Tokenizer) -> bytes:
    """tokenizer.json"""
    return tokenizer.to_str().encode()


def with_changes(tokenizer: Tokenizer, **changes: object) -> bytes:
    """tokenizer.json with some of its top-level entries replaced."""
    return json.dumps(json.loads(tokenizer.to_str()) | changes).encode()
