"""Prepare a dataset folder from a source, or only say what the source holds."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace

from aligndiff.annotations.formats import FORMATS, WITH_MASK_FILES, SourceFormat, recognise
from aligndiff.annotations.source import SourcePair, SourceReading, SourceTree, shortlist
from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.errors import InputError
from aligndiff.core.files import check_writable
from aligndiff.core.options import OneLineParser
from aligndiff.dataset.hints import prepare_command
from aligndiff.dataset.images import Uint8
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.mask_checks import grouped
from aligndiff.preparation.bank import Bank, add_entries, folders_for, read_bank
from aligndiff.preparation.by_hand import category_to_draw, draw_by_hand, photos_to_draw
from aligndiff.preparation.categories import Names, choose
from aligndiff.preparation.config import PrepareConfig, add_prepare_options
from aligndiff.preparation.sheet import write_pair_sheet
from aligndiff.preparation.write import Outcome, Photos, Writer, draw_all, staged

_PLENTY = 30  # pairs; the steps read each of them, and 3 to 10 are enough


DESCRIPTION = (
    "Make a dataset folder from annotated photos: pairs, COCO, labelme, VOC, YOLO, CVAT and others."
)
EPILOG = "SOURCE is never written to. Running it again adds what is new. docs/YOUR_PHOTOS.md"


def main(argv: Sequence[str], prog: str = "python -m scripts.prepare_dataset") -> int:
    """Parse, check, prepare; returns the exit code."""
    layouts = "; ".join(f"{source.name}: {source.layout}" for source in FORMATS.values())
    parser = OneLineParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=f"What is read: {layouts}. {EPILOG}",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add_prepare_options(parser, tuple(FORMATS))
    typed = vars(parser.parse_args(list(argv)))
    return run(PrepareConfig(**typed | {"category": tuple(typed.get("category", ()))}))


def run(config: PrepareConfig) -> int:
    """Prepare, or list; returns the exit code."""
    quiet_libraries()
    tree = SourceTree.scan(config.source, config.mask_class)
    known, told = _format(tree, config.source_format)
    say(f"{config.source}: {known.name} ({known.layout}), recognised by {told}")
    _check_mask_class(known, config)
    reading = known.read(tree)
    if config.list_only:
        return _list(tree, reading, config)
    if not (config.outline and reading.unmarked):
        _refuse_nothing(tree, reading)
    names = choose(reading.pairs, config.category, tree.root.resolve().name)
    return _prepare(tree, reading, names, config)


def _format(tree: SourceTree, name: str | None) -> tuple[SourceFormat, str]:
    if name is None:
        return recognise(tree)
    known = FORMATS[name]
    told = known.recognise(tree)
    if told is None:
        raise InputError(f"{tree.root}: holds no {name} ({known.layout}); leave --from out")
    return known, told


def _check_mask_class(known: SourceFormat, config: PrepareConfig) -> None:
    """Raise InputError where a class of mask files is picked, and there are none."""
    if config.mask_class is not None and known.name not in WITH_MASK_FILES:
        what = f"{known.name} names its categories"
        raise InputError(f"--mask_class picks a class of mask files, {what}; type --category")


def _refuse_nothing(tree: SourceTree, reading: SourceReading) -> None:
    """Raise InputError when there is no pair at all."""
    if reading.pairs:
        return
    what = "photos without a mask" if reading.unmarked else "no photo with a mask"
    shown = f" ({shortlist(reading.unmarked)})" if reading.unmarked else ""
    left_out = f"; {'; '.join(reading.notes)}" if reading.notes else ""
    remedy = "add --outline to draw them in a browser, or see" if reading.unmarked else "masks:"
    line = f"{tree.root}: holds {what}{shown}{left_out}; {remedy} docs/YOUR_PHOTOS.md"
    raise InputError([*reading.problems, line])


def _prepare(tree: SourceTree, reading: SourceReading, names: Names, config: PrepareConfig) -> int:
    assert config.dataset_dir is not None  # checked by the config
    dataset_dir = config.dataset_dir
    check_writable([dataset_dir / DATASET_FILE])
    bank = read_bank(dataset_dir)
    folders = folders_for(dict.fromkeys(names.values()), bank, dataset_dir)
    drawn_category = category_to_draw(names) if config.outline else None
    pairs = [pair for pair in reading.pairs if pair.category in names]
    outcome = Outcome(problems=[*reading.problems], notes=[*reading.notes])
    with staged(dataset_dir) as staging:
        writer = Writer(tree, dataset_dir, staging)

        def use(pair: SourcePair, mask: Uint8, name: str) -> None:
            writer.add(pair, folders[name], mask, outcome, name)

        with progress("preparing", len(pairs)) as advance:
            draw_all(pairs, names, Photos(tree), outcome, config.pairs, use, advance)
        _refuse_problems(outcome, config)
    try:
        if drawn_category is not None:
            reading = _draw(tree, reading, drawn_category, folders, config, outcome)
    finally:  # also when a person stops in the middle of it
        filled = {
            category: folder
            for category, folder in folders.items()
            if (tally := outcome.tally(category)).new + tally.kept
        }
        new = add_entries(dataset_dir, bank, filled)
    if not filled:
        raise InputError("no mask was drawn; nothing was written")
    _report(tree, config, outcome, reading, new, bank)
    sheet = write_pair_sheet(dataset_dir, filled)
    say(f"look at it before you go on: {sheet}")
    folder = shlex.quote(str(dataset_dir))
    say(f"next: python -m scripts.image_mask_inversion --dataset_dir {folder}")
    return 0


def _draw(
    tree: SourceTree,
    reading: SourceReading,
    category: str,
    folders: dict[str, str],
    config: PrepareConfig,
    outcome: Outcome,
) -> SourceReading:
    """Have the photos without a mask drawn; returns the reading without those."""
    assert config.dataset_dir is not None  # checked by the config
    tally, photos = outcome.tally(category), photos_to_draw(reading.unmarked, category)
    if config.pairs is not None:
        photos = photos[: max(0, config.pairs - tally.new - tally.kept)]
    if not photos:
        outcome.notes.append("--outline: no photo is without a mask")
        return reading
    writer = Writer(tree, config.dataset_dir, config.dataset_dir)
    drawn = draw_by_hand(writer, photos, folders[category], category, tally, say)
    left = tuple(photo for photo in reading.unmarked if photo not in drawn)
    return replace(reading, unmarked=left)


def _refuse_problems(outcome: Outcome, config: PrepareConfig) -> None:
    """Raise InputError with all problems, unless they are to be left out and something is left."""
    good = sum(tally.new + tally.kept for tally in outcome.tallies.values())
    if outcome.problems and not (config.skip_bad and (good or config.outline)):
        hint = ["nothing was written; mend these, or leave them out with --skip_bad"]
        if any('"mask_class"' in problem for problem in outcome.problems):
            hint.append('"mask_class" is the option --mask_class here, as in --mask_class any')
        raise InputError([*outcome.problems, *(hint if good else hint[1:])])
    if not good and not config.outline:
        raise InputError("every mask of these categories is empty; nothing was written")


def _report(
    tree: SourceTree,
    config: PrepareConfig,
    outcome: Outcome,
    reading: SourceReading,
    new: Sequence[str],
    bank: Bank,
) -> None:
    for problem in outcome.problems:
        warn(f"left out: {problem}")
    rows = [(name, t.new, t.kept, t.empty, t.bad) for name, t in outcome.tallies.items()]
    table("pairs", ("category", "new", "there", "empty mask", "bad"), rows)
    _notes(outcome, tree, reading)
    for name, tally in outcome.tallies.items():
        if tally.new + tally.kept > _PLENTY and config.pairs is None:
            warn(f"note: {name}: {tally.new + tally.kept} pairs; 3 to 10 do, see --pairs")
    file = f"{config.dataset_dir}/{DATASET_FILE}"
    if new:
        say(f"{file}: starter prompts for {', '.join(new)}; write your own beside them")
    elif bank.content:
        say(f"{file}: left as it is")


def _notes(outcome: Outcome, tree: SourceTree, reading: SourceReading) -> None:
    looks = [*dict.fromkeys([*tree.masks.notes, *outcome.looks])]
    for note in (*outcome.notes, *grouped(looks)):
        warn(f"note: {note}")
    if reading.unmarked:
        photos = f"{len(reading.unmarked)} photos" if len(reading.unmarked) > 1 else "1 photo"
        names = shortlist(reading.unmarked)
        warn(f"note: {photos} without a mask left out ({names}); --outline draws them")


def _list(tree: SourceTree, reading: SourceReading, config: PrepareConfig) -> int:
    """Say what is in the source; every mask is drawn, so that what cannot be read is told."""
    outcome = Outcome(problems=[*reading.problems], notes=[*reading.notes])
    names = {pair.category: pair.category or "(no name)" for pair in reading.pairs}

    def use(pair: SourcePair, mask: Uint8, name: str) -> None:
        outcome.tally(name).new += 1

    with progress("reading", len(reading.pairs)) as advance:
        draw_all(reading.pairs, names, Photos(tree), outcome, None, use, advance)
    rows = [(name, t.new, t.empty, t.bad) for name, t in outcome.tallies.items()]
    table("in SOURCE", ("category", "pairs", "empty mask", "unreadable"), rows)
    photos = {pair.photo for pair in reading.pairs} | set(reading.unmarked)
    say(f"{len(photos)} photos, {len(reading.unmarked)} of them without a mask")
    _notes(outcome, tree, reading)
    for problem in outcome.problems:
        warn(f"unreadable: {problem}")
    if reading.pairs:
        category = reading.pairs[0].category or "NAME"
        say(f"next: {prepare_command(config.source, config.source_format, category)}")
    elif reading.unmarked:
        say(f"next: {prepare_command(config.source, config.source_format)} --outline")
    return 0
