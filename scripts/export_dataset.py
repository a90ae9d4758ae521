"""Choose samples and write them in a layout that other programs read, with a dataset card."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with
from aligndiff.core.options import OneLineParser, add_config_options, config_from_args
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.export.config import SelectionConfig, TargetConfig
from aligndiff.export.export import export, samples_of, settings_of
from aligndiff.export.folder import is_there
from aligndiff.export.formats.table import FORMATS
from aligndiff.export.items import SPLITS, SUPPORT
from aligndiff.export.job import FormatChoice, Job
from aligndiff.export.selection import Selection, select

MODULE = "scripts.export_dataset"
EPILOG = "An export appears whole or not at all. What each layout holds: docs/EXPORT.md."


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, choose, write, report; returns the exit code."""
    parser = OneLineParser(
        prog=f"python -m {MODULE}", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    _add_format_options(parser)
    add_config_options(parser, TargetConfig, "target")
    add_config_options(parser, SelectionConfig, "selection")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    target = config_from_args(TargetConfig, args)
    selection_config = config_from_args(SelectionConfig, args)
    choice = _choice(args)
    choice.format.check()

    quiet_libraries()
    bank = load_prompt_bank(target.dataset_dir)
    selection = select(bank, selection_config)
    folder = target.folder(choice.format.name)
    settings, samples = settings_of(selection, choice), samples_of(selection)
    if is_there(folder.resolve(), settings, samples, target.overwrite):
        say(f"nothing to do: {folder} holds this very export")
        return 0
    with progress("exporting", len(selection.items)) as advance:
        job = export(bank, selection, choice, folder, advance)
    return _report(job, folder)


def _add_format_options(parser: argparse.ArgumentParser) -> None:
    """--format, and the options of the formats under the names of those that share them."""
    parser.add_argument_group("layout").add_argument(
        "--format", choices=FORMATS, required=True, help="the layout to write (docs/EXPORT.md)"
    )
    for kind in dict.fromkeys(kind for layout in FORMATS.values() for kind in layout.options):
        names = [name for name, layout in FORMATS.items() if kind in layout.options]
        add_config_options(parser, kind, f"--format {' or '.join(names)}")


def _choice(args: argparse.Namespace) -> FormatChoice:
    """The format and its options. Raises InputError for options of other formats."""
    layout = FORMATS[args.format]
    others = {kind for other in FORMATS.values() for kind in other.options} - {*layout.options}
    problems = [
        f"--{item.name}: --format {args.format} has no use for it; leave it out"
        for kind in others
        for item in dataclasses.fields(kind)
        if hasattr(args, item.name)
    ]
    if problems:
        raise InputError(sorted(problems))
    return FormatChoice(layout, tuple(config_from_args(kind, args) for kind in layout.options))


def _report(job: Job, folder: Path) -> int:
    """Print what was written and what was left out; returns 1 when an image could not be read."""
    kinds = [*SPLITS, "consensus", "pseudo_label", SUPPORT]
    counts = {category: Counter[str]() for category in job.categories}
    for item in job.written:
        counts[item.category].update([job.selection.split(item), item.source])
    rows = [[name, *(count[kind] for kind in kinds)] for name, count in counts.items()]
    table(f"{job.choice.format.name} export", ["class", *kinds], rows)
    if left_out := Counter(job.selection.left_out) + job.left_out:
        say("left out: " + ", ".join(f"{count} {why}" for why, count in left_out.items()))
    _warn_of_gaps(job.selection, counts)
    for failure in job.failures:
        warn(f"failed: {failure}")
    say(f"export: {folder}; its README.md has gaps marked TO FILL IN")
    return 1 if job.failures else 0


def _warn_of_gaps(selection: Selection, counts: dict[str, Counter[str]]) -> None:
    for category, count in counts.items():
        if not count.total():
            warn(f"note: {category}: no image was chosen; the class is listed all the same")
        elif selection.config.val_fraction > 0 and not count["val"]:
            warn(f"note: {category}: no image fell to the validation split")


if __name__ == "__main__":
    exit_with(main)
