"""Choose samples and write them in a layout that other programs read, with a dataset card."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with
from aligndiff.core.options import OneLineParser, add_config_options, config_from_args
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.export.config import ExportConfig, SelectionConfig
from aligndiff.export.export import export, samples_of, settings_of
from aligndiff.export.folder import is_there
from aligndiff.export.formats.coco import check_coco
from aligndiff.export.items import SPLITS, SUPPORT
from aligndiff.export.job import Job
from aligndiff.export.selection import Selection, select

MODULE = "scripts.export_dataset"
EPILOG = "An export appears whole or not at all. What each layout holds: docs/EXPORT.md."


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, choose, write, report; returns the exit code."""
    parser = OneLineParser(
        prog=f"python -m {MODULE}", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    add_config_options(parser, ExportConfig, "export")
    add_config_options(parser, SelectionConfig, "selection")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    config = config_from_args(ExportConfig, args)
    wanted = config_from_args(SelectionConfig, args)
    _refuse_other_formats_options(args)
    if config.format == "coco":
        check_coco()

    quiet_libraries()
    bank = load_prompt_bank(config.dataset_dir)
    selection = select(bank, wanted)
    folder = config.folder.resolve()
    if is_there(folder, settings_of(selection, config), samples_of(selection), config.overwrite):
        say(f"nothing to do: {config.folder} holds this very export")
        return 0
    with progress("exporting", len(selection.items)) as advance:
        job = export(bank, selection, config, advance)
    return _report(job)


def _refuse_other_formats_options(args: argparse.Namespace) -> None:
    problems = [
        f"--{item.name}: --format {args.format} has no use for it; leave it out"
        for item in dataclasses.fields(ExportConfig)
        if hasattr(args, item.name) and item.metadata.get("only", args.format) != args.format
    ]
    if problems:
        raise InputError(problems)


def _report(job: Job) -> int:
    """Print what was written and what was left out; returns 1 when an image could not be read."""
    kinds = [*SPLITS, "consensus", "pseudo_label", SUPPORT]
    counts = {category: Counter[str]() for category in job.categories}
    for item in job.written:
        counts[item.category].update([job.selection.split(item), item.source])
    rows = [[name, *(count[kind] for kind in kinds)] for name, count in counts.items()]
    table(f"{job.config.format} export", ["class", *kinds], rows)
    if job.selection.left_out:
        told = ", ".join(f"{count} {why}" for why, count in job.selection.left_out.items())
        say(f"left out: {told}")
    _warn_of_gaps(job.selection, counts)
    for failure in job.failures:
        warn(f"failed: {failure}")
    say(f"export: {job.config.folder}; its README.md has gaps marked TO FILL IN")
    return 1 if job.failures else 0


def _warn_of_gaps(selection: Selection, counts: dict[str, Counter[str]]) -> None:
    for category, count in counts.items():
        if not count.total():
            warn(f"note: {category}: no image was chosen; the class is listed all the same")
        elif selection.config.val_fraction > 0 and not count["val"]:
            warn(f"note: {category}: no image fell to the validation split")


if __name__ == "__main__":
    exit_with(main)
