"""What a source of texts declares to take part, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aligndiff.core.console import Advance
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.meaning import Embedder


@dataclass(frozen=True)
class Request:
    """What is asked of a source, for all categories at once.

    Attributes:
        folder: the dataset folder's `prompts/`, where a source may keep what it has begun.
        needs: how many texts are still to be chosen for each subject.
        accepts: whether a text would pass the checks of a category.
        seed: decides whatever is drawn.
        embedder: how texts are compared.
        advance: moves the progress bar on.
        trouble: lines about what could not be had; the source goes on without it.
    """

    folder: Path
    needs: Mapping[Subject, int]
    accepts: Callable[[Subject, str], bool]
    seed: int
    embedder: Embedder
    advance: Advance
    trouble: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TextSource:
    """Where texts come from.

    Attributes:
        name: the word for it, in files and in `dataset.json`.
        doing: what the progress bar says.
        options: the frozen dataclass of its options.
        is_asked: whether its options ask for it.
        check: raises InputError before anything is loaded.
        steps: how much work there is, in units of the progress bar.
        propose: texts for each subject, more than are needed where there are.
    """

    name: str
    doing: str
    options: type
    is_asked: Callable[[Any], bool]
    check: Callable[[Any], None]
    steps: Callable[[Any, Request], int]
    propose: Callable[[Any, Request], Mapping[Subject, list[Candidate]]]
