"""CLIP's tokenizer, which SD 1.x, 2.x and SDXL share and no single file holds.

`clip_merges.txt.xz` is the list of merges that OpenAI published with CLIP (MIT licence, (c) 2021
OpenAI), the 48,894 of them that the vocabulary uses.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MERGES = Path(__file__).with_name("clip_merges.txt.xz")
_START, _END = "<|startoftext|>", "<|endoftext|>"
LONGEST = 77  # tokens of a prompt, start and end included


def clip_tokenizer(pad_token: str = _END) -> CLIPTokenizer:
    """CLIP's tokenizer; `pad_token` is "!" for the second text encoder of SDXL."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = lzma.decompress(MERGES.read_bytes()).decode().split("\n")
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["".join(pair) for pair in merges] + [_START, _END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=pad_token,
        model_max_length=LONGEST,
    )
