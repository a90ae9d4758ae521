"""Texts from captions that people wrote: with the category's word, or near it in meaning."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, field
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.options import Options, option
from aligndiff.dataset.entries import category_spans
from aligndiff.prompts.candidate import Candidate, Subject, article
from aligndiff.prompts.filters import plurals
from aligndiff.prompts.kinds import all_nouns
from aligndiff.prompts.meaning import Embedder, choose_embedder
from aligndiff.prompts.sources.caption_files import check_captions, read_captions
from aligndiff.prompts.sources.index import index_of
from aligndiff.prompts.sources.source import Request, TextSource

_POOL, _LEAST_POOL = 40, 2000  # captions kept for each text that is needed; for a category
_NEAR = 0.3  # cosine to "a photo of a <category>" from which a caption without the word counts
_SAME_THING = 0.75  # cosine of two nouns' photos from which they are no rivals: dog and puppy
_REPORTED = 10_000  # captions between two moves of the progress bar


@dataclass(frozen=True)
class CaptionOptions(Options):
    """The captions."""

    captions: tuple[Path, ...] = option(
        (),
        "files of captions: .txt (one a line), .tsv, .csv, .jsonl, .json of COCO, .parquet",
        metavar="FILE",
    )
    by_meaning: bool = option(
        False,
        "take captions near in meaning too, with the category put before them; makes an index of "
        "the files once (extra aligndiff[meaning]; aligndiff[faiss] for millions)",
    )


@dataclass
class _Reservoir:
    """A sample of texts that depends on the texts and the seed alone, whatever their order."""

    size: int
    seed: int
    heap: list[tuple[int, str]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)

    def add(self, text: str) -> None:
        digest = hashlib.blake2b(f"{self.seed} {text.casefold()}".encode(), digest_size=8)
        number = -int.from_bytes(digest.digest())
        if number in self.known or (len(self.heap) == self.size and number <= self.heap[0][0]):
            return
        self.known.add(number)
        if len(self.heap) < self.size:
            heapq.heappush(self.heap, (number, text))
        else:
            self.known.remove(heapq.heappushpop(self.heap, (number, text))[0])

    @property
    def texts(self) -> list[str]:
        return [text for _, text in sorted(self.heap, reverse=True)]


def propose(options: CaptionOptions, request: Request) -> dict[Subject, list[Candidate]]:
    """Captions of every subject; of very many, a sample that `seed` decides."""
    kept = {
        subject: _Reservoir(max(_LEAST_POOL, _POOL * count), request.seed)
        for subject, count in request.needs.items()
    }
    words = {subject: subject.category.casefold().split()[0] for subject in kept}
    for path in options.captions:
        for number, caption in enumerate(read_captions(path), start=1):
            lowered = caption.casefold()
            for subject, word in words.items():
                if word in lowered and category_spans(caption, subject.category):
                    kept[subject].add(caption)
            if number % _REPORTED == 0:
                request.advance(0, status=f"{number:,} captions")
        request.advance(1)
    proposed = {subject: reservoir.texts for subject, reservoir in kept.items()}
    if options.by_meaning:
        for path in options.captions:
            for subject, texts in _near(path, request).items():
                proposed[subject] += texts
    return {
        subject: [Candidate(text, SOURCE.name) for text in texts]
        for subject, texts in proposed.items()
    }


def _near(path: Path, request: Request) -> dict[Subject, list[str]]:
    """Captions that mean the category without its word, behind it: "a dog: a puppy on a rug".

    A caption means it when it is near to "a photo of a dog", and nearer than to that of any other
    noun that we know, or class of the bank.
    """
    embedder = choose_embedder("meaning")
    index = index_of(request.folder, path, embedder)
    index.build(
        read_captions(path),
        embedder,
        lambda count: request.advance(0, status=f"{count:,} captions indexed"),
    )
    subjects = list(request.needs)
    queries = embedder.embed([_photo(subject.category) for subject in subjects])
    hits = index.search(queries, _POOL * max(request.needs.values()))
    near = {
        subject: set(numbers[likeness >= _NEAR].tolist())
        for subject, numbers, likeness in zip(subjects, hits.rows, hits.likeness, strict=True)
    }
    captions: dict[Subject, list[str]] = {subject: [] for subject in subjects}
    for number, caption in enumerate(read_captions(path)):
        for subject in (s for s, numbers in near.items() if number in numbers):
            # "a dog: three dogs in a field" would contradict itself.
            names = [subject.category, *plurals(subject.category)]
            if not any(category_spans(caption, name) for name in names):
                captions[subject].append(caption)
    return {
        subject: [
            f"{article(subject.category)} {subject.category}: {caption}"
            for caption in _nearest_to(subject, texts, embedder)
        ]
        for subject, texts in captions.items()
    }


def _nearest_to(subject: Subject, captions: list[str], embedder: Embedder) -> list[str]:
    """The captions that are nearer to the category than to every other noun."""
    if not captions:
        return []
    nouns = [*subject.others, *all_nouns()]
    own = embedder.embed([_photo(subject.category)])[0]
    rivals = embedder.embed([_photo(noun) for noun in nouns])
    rivals = rivals[rivals @ own < _SAME_THING]
    vectors = embedder.embed(captions)
    wins = vectors @ own > (vectors @ rivals.T).max(axis=1, initial=-1)
    return [caption for caption, is_own in zip(captions, wins, strict=True) if is_own]


def _photo(noun: str) -> str:
    return f"a photo of {article(noun)} {noun}"


def _check(options: CaptionOptions) -> None:
    if not options.captions:
        raise InputError("--by_meaning: needs files of captions; name them after --captions")
    for path in options.captions:
        check_captions(path)
    if options.by_meaning:
        try:
            choose_embedder("meaning")
        except InputError as error:
            problem = error.problems[0].replace("--compare_by meaning", "--by_meaning")
            raise InputError(problem) from None


SOURCE = TextSource(
    name="captions",
    doing="reading captions",
    options=CaptionOptions,
    is_asked=lambda options: bool(options.captions) or options.by_meaning,
    check=_check,
    steps=lambda options, request: len(options.captions),
    propose=propose,
)
