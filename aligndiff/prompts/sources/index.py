"""Vectors of millions of captions on disk, made once, piece by piece, and searched.

<index>/000000.npy ...   float16 (captions of a piece, width); made only where it is missing
<index>/captions.json    how many there are; written last
<index>/faiss.index      where faiss is installed and there are many
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.files import atomic_path, fingerprint, read_json, write_json
from aligndiff.prompts.meaning import Embedder, Vectors

PIECE = 4096  # captions
_FAISS_FROM = 200_000  # captions; below, numpy reads them all in a moment, and misses none
_LISTS_PER_ROOT = 4  # inverted lists, over the square root of the number of captions
_TRAINED_ON = 40  # captions for each list
_PROBED = 16  # a search looks into one list of so many
_COUNT = "captions.json"
_FAISS = "faiss.index"


@dataclass(frozen=True)
class Hits:
    """The nearest captions of each query, the nearest first.

    Attributes:
        rows: int64 (queries, k), numbers of captions; -1 where there are fewer.
        likeness: float32 (queries, k), cosines.
    """

    rows: NDArray[np.int64]
    likeness: NDArray[np.float32]


@dataclass(frozen=True)
class CaptionIndex:
    """The index of a file's captions in a folder of its own."""

    folder: Path
    piece: int = PIECE
    faiss_from: int = _FAISS_FROM

    def build(
        self, captions: Iterable[str], embedder: Embedder, indexed: Callable[[int], None]
    ) -> int:
        """Make the pieces that are missing; returns how many captions there are.

        `indexed` is told after each piece how many there are so far.
        """
        if (self.folder / _COUNT).exists():
            return int(read_json(self.folder / _COUNT)["captions"])
        self.folder.mkdir(parents=True, exist_ok=True)
        total = 0
        for number, texts in enumerate(_batched(captions, self.piece)):
            path = self._piece(number)
            if not path.exists():
                vectors = embedder.embed(texts).astype(np.float16)
                with atomic_path(path) as beside, open(beside, "wb") as file:
                    np.save(file, vectors)
            total += len(texts)
            indexed(total)
        write_json(self.folder / _COUNT, {"captions": total})
        return total

    def search(self, queries: Vectors, k: int) -> Hits:
        """The `k` nearest captions of each query, by faiss where it is there and worth it."""
        total = int(read_json(self.folder / _COUNT)["captions"])
        if total >= self.faiss_from and importlib.util.find_spec("faiss") is not None:
            likeness, rows = self._faiss(total).search(queries, k)
            return Hits(rows, likeness)
        best = np.full((len(queries), 0), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), 0), -1, dtype=np.int64)
        start = 0
        for vectors in self._pieces():
            best = np.concatenate([best, queries @ vectors.T], axis=1)
            numbers = np.arange(start, start + len(vectors))
            rows = np.concatenate([rows, np.tile(numbers, (len(queries), 1))], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best, rows = (np.take_along_axis(table, order, axis=1) for table in (best, rows))
            start += len(vectors)
        return Hits(rows, best)

    def _faiss(self, total: int) -> Any:
        """The faiss index, read or made: inverted lists of 8-bit vectors, 0.4 GB a million."""
        import faiss

        path = self.folder / _FAISS
        lists = max(1, int(_LISTS_PER_ROOT * total**0.5))
        if not path.exists():
            sample = self._sample(total, _TRAINED_ON * lists)
            width = sample.shape[1]
            made: Any = faiss.index_factory(width, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
            made.train(sample)
            for vectors in self._pieces():
                made.add(vectors)
            with atomic_path(path) as beside:
                faiss.write_index(made, str(beside))
        index: Any = faiss.read_index(str(path))
        index.nprobe = 1 + lists // _PROBED
        return index

    def _sample(self, total: int, size: int) -> Vectors:
        """Every so manieth vector, about `size` of them."""
        step = max(1, total // size)
        return np.concatenate([vectors[::step] for vectors in self._pieces()])

    def _pieces(self) -> Iterator[Vectors]:
        for number in count():
            if not self._piece(number).exists():
                return
            yield np.load(self._piece(number)).astype(np.float32)

    def _piece(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npy"


def index_of(folder: Path, captions: Path, embedder: Embedder) -> CaptionIndex:
    """The index of a file as it is now: one that was changed gets another folder."""
    status = captions.stat()
    name = fingerprint([captions.name, status.st_size, status.st_mtime_ns, embedder.name])
    return CaptionIndex(folder / "index" / name)


def _batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
