"""The command that exports a dataset."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.errors import InputError
from aligndiff.core.options import CommandLine, option, parse
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.export.config import SelectionConfig, TargetConfig
from aligndiff.export.export import export, samples_of, settings_of
from aligndiff.export.folder import is_there
from aligndiff.export.formats.table import FORMATS
from aligndiff.export.items import SPLITS
from aligndiff.export.job import ExportJob, FormatChoice
from aligndiff.export.selection import Selection, select

DESCRIPTION = (
    "Choose samples and write them in a layout that other programs read, with a dataset card."
)
EPILOG = "An export appears whole or not at all. What each layout holds: docs/EXPORT.md."


@dataclasses.dataclass(frozen=True)
class LayoutConfig:
    """Which layout."""

    format: str = option(help="the layout to write (docs/EXPORT.md)", choices=tuple(FORMATS))


def main(argv: Sequence[str], prog: str = "python -m scripts.export_dataset") -> int:
    """Parse, choose, write, report; returns the exit code."""
    line = parse(prog, DESCRIPTION, EPILOG, _configs(), argv)
    target = line.config(TargetConfig)
    selection_config = line.config(SelectionConfig)
    choice = _choice(line)
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


def _configs() -> dict[str, type]:
    """The options, those of the formats under the names of the formats that share them."""
    kinds = dict.fromkeys(kind for layout in FORMATS.values() for kind in layout.options)
    sharing = {
        kind: [name for name, layout in FORMATS.items() if kind in layout.options] for kind in kinds
    }
    of_formats = {f"--format {' or '.join(names)}": kind for kind, names in sharing.items()}
    return {
        "layout": LayoutConfig,
        **of_formats,
        "target": TargetConfig,
        "selection": SelectionConfig,
    }


def _choice(line: CommandLine) -> FormatChoice:
    """The format and its options. Raises InputError for options of other formats."""
    layout = FORMATS[line.config(LayoutConfig).format]
    others = {kind for other in FORMATS.values() for kind in other.options} - {*layout.options}
    problems = [
        f"--{item.name}: --format {layout.name} has no use for it; leave it out"
        for kind in others
        for item in dataclasses.fields(kind)
        if line.typed(item.name)
    ]
    if problems:
        raise InputError(sorted(problems))
    return FormatChoice(layout, tuple(line.config(kind) for kind in layout.options))


def _report(job: ExportJob, folder: Path) -> int:
    """Print what was written and what was left out; returns 1 when an image could not be read."""
    kinds = [*SPLITS, *job.sources]
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
