"""The options of augment_prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.options import MAX_SEED, Options, option
from aligndiff.prompts.bank import EntryTypes
from aligndiff.prompts.meaning import By

MAX_COUNT = 10_000  # texts of a category


@dataclass(frozen=True)
class AugmentOptions(Options):
    """For what, how many, and what is written."""

    dataset_dir: Path = option(help="folder that holds dataset.json")
    categories: tuple[str, ...] = option((), "for these categories only (default: all of them)")
    count: int = option(
        30,
        "texts that a category is to have from the sources asked for; 0 only brings dataset.json "
        "up to date with the edited files",
        0,
        MAX_COUNT,
    )
    entry_types: EntryTypes = option(
        "auto",
        "the entries that texts become: with the learned look, plain, or both; auto: with the "
        "learned look where the category has one",
    )
    seed: int = option(0, "random seed of what is proposed", 0, MAX_SEED)
    compare_by: By = option(
        "auto",
        "how texts are compared: by the meaning of sentences (extra aligndiff[meaning]) or by "
        "their letters; auto: by meaning where it is installed",
    )
    diffusion_model: str | None = option(
        None,
        "whose text encoder has to read the texts whole",
        shown_default="the one of dataset.json",
    )
    dry_run: bool = option(False, "print what would be added, and write nothing")
    report: bool = option(
        False, "add nothing: write figures and a plot of the texts that are there"
    )
