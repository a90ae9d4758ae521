"""An export format, and the work that all of them share: read the items in threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aligndiff.core.errors import InputError
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.scenes import SCENE
from aligndiff.export.items import SPLITS, SUPPORT, ExportItem, Picture, Split
from aligndiff.export.selection import THREADS, Selection

Result = TypeVar("Result")
FormatOptions = TypeVar("FormatOptions")


@dataclass(frozen=True)
class Format:
    """A layout that other programs read: what its module declares to take part.

    Attributes:
        name: the word after --format.
        layout: what is written, as Markdown for the dataset card.
        write: writes a job's items in this layout.
        options: frozen dataclasses of its options on the command line; formats may share one.
        data_files: by split, the files that the Hub's viewer shows; empty where it shows none.
        only_jpg: whether its readers look for no suffix but .jpg.
        check: raises InputError before anything is read, when a package is missing.
    """

    name: str
    layout: str
    write: Callable[[ExportJob], None]
    options: tuple[type, ...] = ()
    data_files: Mapping[Split, str] = field(default_factory=dict)
    only_jpg: bool = False
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class FormatChoice:
    """The format of an export, with one instance of each of its `options`."""

    format: Format
    options: tuple[Any, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the files besides the selection: the format and its own options."""
        own = {name: value for item in self.options for name, value in asdict(item).items()}
        return {"format": self.format.name, **own}


@dataclass
class ExportJob:
    """One export: what is written, and into which folder.

    Attributes:
        bank: the prompt bank that the items come from.
        selection: the items, and how they are split.
        choice: the format and its options.
        folder: where the files go; it exists and is empty, and becomes the export when all is done.
        done: called after each item.
        failures: one line for each item that could not be read.
        written: the items that were.
        unfit: the number of items that the layout cannot hold.
        left_out: numbers of what the layout left out of written items, by the reason.
    """

    bank: PromptBank
    selection: Selection
    choice: FormatChoice
    folder: Path
    done: Callable[[], None] = lambda: None
    failures: list[str] = field(default_factory=list)
    written: list[ExportItem] = field(default_factory=list)
    unfit: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """How many items could not be read, once all are written."""
        return len(self.selection.items) - len(self.written) - self.unfit

    @property
    def categories(self) -> list[str]:
        """Those asked for, in the order of the file, also where a class has no image."""
        return self.bank.select(self.selection.config.categories).categories

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of masks that a table has a column for: scenes only where there are some."""
        scenes = any(item.source == SCENE for item in self.selection.items)
        return ("consensus", "pseudo_label", *([SCENE] if scenes else []), SUPPORT)

    @property
    def suffix(self) -> str:
        """ "jpg" or "png": one for all images of an export, as many readers look for one only."""
        made_as = {item.made_as for item in self.selection.items}
        lossless = "jpg" not in made_as and not self.choice.format.only_jpg
        return "png" if lossless else "jpg"

    @property
    def splits(self) -> tuple[Split, ...]:
        """ "train", and "val" when something is to go there."""
        return SPLITS if self.selection.config.val_fraction > 0 else ("train",)

    def options(self, kind: type[FormatOptions]) -> FormatOptions:
        """The options of one kind; `kind` is among those that the format declares."""
        return next(item for item in self.choice.options if isinstance(item, kind))

    def make(self, *parts: str) -> Path:
        """A folder within the export, made as needed."""
        path = self.folder.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def each(
        self,
        work: Callable[[ExportItem, Picture], Result],
        items: Sequence[ExportItem] | None = None,
    ) -> Iterator[tuple[ExportItem, Result]]:
        """Every item that can be read, in order, with what `work` made of it in a thread.

        `items` are those of the selection in another order, where one is wanted.
        """
        items = self.selection.items if items is None else items

        def attempt(item: ExportItem) -> Result | InputError:
            try:
                return work(item, item.read())
            except InputError as error:
                return error

        results = prefetch_map(attempt, items, 2 * THREADS, THREADS)
        for item, result in zip(items, results, strict=True):
            self.done()
            if isinstance(result, InputError):
                self.failures += result.problems
            else:
                self.written.append(item)
                yield item, result
