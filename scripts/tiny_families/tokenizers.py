"""Tokenizers of the families' kinds, made in memory from a handful of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

# What our prompts and the tests' categories are made of; "alba|tross" is two tokens.
WORDS: tuple[str, ...] = (
    "a",
    "an",
    "of",
    "on",
    "in",
    "the",
    "good",
    "photo",
    "dog",
    "cat",
    "fish",
    "water",
    "cup",
)
WORDS += ("mushroom", "alba|tross")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;'\"<>|_-/()\n"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MOST_TOKENS = 4096


def clip_tokenizer() -> CLIPTokenizer:
    """All bytes, and the pieces of WORDS as whole tokens, by merges as CLIP's."""
    from transformers import CLIPTokenizer

    letters = _byte_letters()
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        *heads, tail = word.split("|")
        for head in heads:
            _merge(list(head), merges, pieces)
        _merge([*tail[:-1], tail[-1] + "</w>"], merges, pieces)
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab=_numbered(pieces), merges=merges, model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """A unigram vocabulary of WORDS, with letters for all else."""
    from transformers import T5Tokenizer

    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocab += [(piece, -1.0) for piece in _word_pieces()]
    vocab += [(letter, -5.0) for letter in LETTERS]
    unique = list(dict(vocab).items())
    return T5Tokenizer(vocab=unique, extra_ids=0, model_max_length=MOST_TOKENS)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """All bytes, and the pieces of WORDS after a space, with a chat template."""
    from transformers import Qwen2Tokenizer

    pieces = _byte_letters()
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for start, piece in enumerate(word.split("|")):
            _merge([*("" if start else "Ġ"), *piece], merges, pieces)
    special = ["<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(
        vocab=_numbered([*pieces, "<|endoftext|>", *special]),
        merges=merges,
        model_max_length=MOST_TOKENS,
        additional_special_tokens=special,
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def gemma_tokenizer() -> GemmaTokenizer:
    """A vocabulary of letters merged into the pieces of WORDS, as Gemma's."""
    from transformers import GemmaTokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS]
    merges: list[tuple[str, str]] = []
    for piece in _word_pieces():
        _merge(list(piece), merges, pieces)
    return GemmaTokenizer(vocab=_numbered(pieces), merges=merges, model_max_length=MOST_TOKENS)


def _word_pieces() -> list[str]:
    """The pieces of WORDS; "▁" where a word begins."""
    return [
        ("" if start else "▁") + piece
        for word in WORDS
        for start, piece in enumerate(word.split("|"))
    ]


def _merge(parts: list[str], merges: list[tuple[str, str]], pieces: list[str]) -> None:
    """Add what joins `parts` from left to right into one piece."""
    left = parts[0]
    for right in parts[1:]:
        if (left, right) not in merges:
            merges.append((left, right))
            pieces.append(left + right)
        left += right


def _byte_letters() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def _numbered(pieces: list[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
