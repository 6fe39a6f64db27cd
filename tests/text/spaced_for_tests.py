"""Small tokenizers of the SentencePiece kinds, in the forms in which their tokenizer.json is met."""

from __future__ import annotations

import functools
import json
import random
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from tests.text.tokenizers_for_tests import CORPUS

SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPACES = "\u2581"


def _replace() -> Any:
    return normalizers.Replace(" ", SPACES)


def _decoder(strips: bool, byte_fallback: bool = True) -> Any:
    steps = [decoders.Replace(SPACES, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1)]
    return decoders.Sequence(
        [step for i, step in enumerate(steps) if (i != 1 or byte_fallback) and (i != 3 or strips)]
    )


@functools.cache
def _trained(over_spaces: bool, size: int) -> str:
    """A vocabulary with merges, as JSON: special tokens, bytes, words. Some characters are left to bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=not over_spaces)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        limit_alphabet=60,
        initial_alphabet=[SPACES],
        max_token_length=12,
        special_tokens=[*SPECIAL, *BYTES],
    )
    lines = [*CORPUS, "a    b  c        d\n\n\ne", "the  the   the    the"]
    tokenizer.train_from_iterator(lines * 3, trainer)
    return tokenizer.to_str()


def _bpe(over_spaces: bool = False, fallback: bool = True, fuse: bool = True, **settings: Any) -> Tokenizer:
    tree = json.loads(_trained(over_spaces, 900))
    tree["model"] |= {"byte_fallback": fallback, "fuse_unk": fuse, "unk_token": "<unk>"} | settings
    tree["added_tokens"] = []
    tree["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer


@functools.cache
def llama2() -> Tokenizer:
    """1bitLLM and the older Llama-2: a space in front of every piece of text."""
    tokenizer = _bpe()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACES), _replace()])
    tokenizer.decoder = _decoder(strips=True)
    template = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.post_processor = template
    return tokenizer


@functools.cache
def llama2_first() -> Tokenizer:
    """Llama-2 as transformers converts it now: in front of the first alone."""
    tokenizer = _bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = _decoder(strips=True)
    return tokenizer


@functools.cache
def gemma() -> Tokenizer:
    """No prefix; rows of line ends and of spaces are added tokens."""
    tokenizer = _bpe()
    tokenizer.normalizer = _replace()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = _decoder(strips=False)
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False) for text in ("<start_of_turn>", "<end_of_turn>")]
    )
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in ("\n\n", SPACES * 2, SPACES * 3, "<tool>")]
    )
    return tokenizer


@functools.cache
def over_spaces() -> Tokenizer:
    """Tokens over spaces; unknown characters stay apart; added tokens are searched behind NFC and Replace."""
    tokenizer = _bpe(over_spaces=True, fallback=False, fuse=False)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), _replace()])
    tokenizer.decoder = _decoder(strips=False, byte_fallback=False)
    tokenizer.add_tokens(
        [AddedToken("e\u0301e", normalized=True), AddedToken("x y", normalized=True), "<tool>x"]
    )
    return tokenizer


@functools.cache
def metaspace() -> Tokenizer:
    """Words by Metaspace, unknown characters fused; tokens that take white space, tokens that stand alone."""
    tokenizer = _bpe(fallback=False, ignore_merges=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(
        [
            AddedToken("<tool_call>", rstrip=True, normalized=False),
            AddedToken("</tool_call>", lstrip=True, normalized=False),
            AddedToken("<|im_end|>", lstrip=True, rstrip=True, normalized=False),
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken("the", single_word=True),
            AddedToken("ab", single_word=True, lstrip=True, normalized=False),
            AddedToken("<tool>", rstrip=True),
        ]
    )
    return tokenizer


@functools.cache
def stripping() -> Tokenizer:
    """The same kinds of token where they are searched in text with U+2581 for its spaces."""
    tokenizer = llama2().from_str(llama2().to_str())
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", lstrip=True, rstrip=True, normalized=True)])
    tokenizer.add_tokens(
        [AddedToken("the", single_word=True, rstrip=True), AddedToken("...", lstrip=True, single_word=True)]
    )
    return tokenizer


@functools.cache
def shuffled() -> Tokenizer:
    """Merges in an order that no training gives, many with one product, over spaces too."""
    source = random.Random(9)
    vocab = {text: token for token, text in enumerate([*SPECIAL, *BYTES, *"abcde", SPACES, "\n"])}
    words = [*"abcde", SPACES, "\n", "<0x31>"]
    merges: dict[tuple[str, str], None] = {}
    for _ in range(400):
        left, right = source.choice(words), source.choice(words)
        if len(left + right) <= 7:
            merges[left, right] = None
            if left + right not in vocab:
                vocab[left + right] = len(vocab)
                words.append(left + right)
    order = list(merges)
    source.shuffle(order)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=order, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    tokenizer.normalizer = _replace()
    tokenizer.decoder = _decoder(strips=False)
    return tokenizer


def _unigram(fallback: bool, size: int = 500) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.UnigramTrainer(
        vocab_size=size, show_progress=False, special_tokens=list(SPECIAL), unk_token="<unk>"
    )
    tokenizer.train_from_iterator([*CORPUS] * 3, trainer)
    tree = json.loads(tokenizer.to_str())
    kept = [piece for piece in tree["model"]["vocab"] if piece[0] not in "漢字日本語é1"]
    if fallback:
        kept += [[name, -20.0] for name in BYTES]
        tree["model"]["byte_fallback"] = True
    tree["model"]["vocab"] = [piece for piece in kept if piece[0] not in SPECIAL]
    tree["model"]["unk_id"] = None
    tree["added_tokens"] = []
    vocab = [["<pad>", 0.0], *([text, 0.0] for text in SPECIAL), *tree["model"]["vocab"]]
    tree["model"] |= {"vocab": vocab, "unk_id": 1}
    return Tokenizer.from_str(json.dumps(tree))


@functools.cache
def unigram() -> Tokenizer:
    """T5's kind: words by Metaspace, unknown characters fused."""
    tokenizer = _unigram(fallback=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer


@functools.cache
def unigram_bytes() -> Tokenizer:
    """Without words, with bytes for what is unknown."""
    tokenizer = _unigram(fallback=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACES), _replace()])
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = _decoder(strips=True)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer


ALL = {
    "llama2": llama2,
    "llama2_first": llama2_first,
    "gemma": gemma,
    "over_spaces": over_spaces,
    "metaspace": metaspace,
    "stripping": stripping,
    "spaced_shuffled": shuffled,
    "unigram": unigram,
    "unigram_bytes": unigram_bytes,
}
