"""The command that adds texts to the prompt bank."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aligndiff.core.console import note, progress, quiet_libraries, say, table, warn
from aligndiff.core.files import check_writable, write_json
from aligndiff.core.options import parse
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.prompts.augment import ChosenTexts, choose_texts
from aligndiff.prompts.bank import BACKUP, BankChange, updated_bank, write_bank
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.config import AugmentOptions
from aligndiff.prompts.meaning import Embedder, choose_embedder
from aligndiff.prompts.plan import CategoryPlan, asked_sources, length_check, plan_categories
from aligndiff.prompts.prompt_file import FOLDER, PromptFile, write_prompts
from aligndiff.prompts.report import report_bank, report_json, report_plot, report_rows
from aligndiff.prompts.senses import senses_of
from aligndiff.prompts.sources.source import Request, TextSource
from aligndiff.prompts.sources.table import SOURCES
from aligndiff.render.sheet import write_sheet
from aligndiff.runner.lock import folder_lock

DESCRIPTION = "Add texts to the prompt bank: from templates, from captions, from a language model."
EPILOG = (
    "Texts go to DATASET_DIR/prompts/<category>.txt, to be edited, and from there into "
    "dataset.json. docs/PROMPTS.md shows each source."
)


def main(argv: Sequence[str], prog: str = "python -m scripts.augment_prompts") -> int:
    """Parse, check, propose, choose, write, report; returns the exit code."""
    configs = {"texts": AugmentOptions} | {s.name: s.options for s in SOURCES.values()}
    line = parse(prog, DESCRIPTION, EPILOG, configs, argv)
    options = line.config(AugmentOptions)
    quiet_libraries()
    embedder = choose_embedder(options.compare_by)
    sources = asked_sources(line)
    bank = load_prompt_bank(options.dataset_dir)
    root = bank.root
    if options.report:
        return _report(bank.select(options.categories), embedder, options.dry_run)
    notes: list[str] = []
    fits = length_check(line, bank, notes)
    plans = plan_categories(bank, options, [source.name for source, _ in sources], fits)
    # What the options cannot have is told before a source is asked.
    updated_bank(root, bank, {p.subject.category: p.file.texts for p in plans}, options.entry_types)
    check_writable([*(plan.path for plan in plans), root / BACKUP])
    with folder_lock(root, prog):
        trouble: list[str] = []
        proposed = _propose(sources, plans, options.seed, embedder, trouble)
        choices = [
            choose_texts(proposed.get(p.subject, []), p.present, p.need, p.checks, embedder)
            for p in plans
        ]
        files = [p.file.with_texts(c.chosen) for p, c in zip(plans, choices, strict=True)]
        texts = {p.subject.category: f.texts for p, f in zip(plans, files, strict=True)}
        change = updated_bank(root, bank, texts, options.entry_types)
        if not options.dry_run:
            _write(plans, files, bank, change)
    note([*notes, *_notes(plans)])
    for problem in trouble:
        warn(f"failed: {problem}")
    _tell(plans, choices, change, options.dry_run)
    if not options.dry_run:
        _tell_spread(load_prompt_bank(root, options.categories), embedder)
    return 1 if trouble else 0


def _propose(
    sources: Sequence[tuple[TextSource, Any]],
    plans: Sequence[CategoryPlan],
    seed: int,
    embedder: Embedder,
    trouble: list[str],
) -> Mapping[Subject, list[Candidate]]:
    """What the sources have for the categories that need texts."""
    needs = {plan.subject: plan.need for plan in plans if plan.need}
    checks = {plan.subject: plan.checks for plan in plans}
    proposed: dict[Subject, list[Candidate]] = {subject: [] for subject in needs}
    if not needs:
        return proposed
    folder = plans[0].path.parent
    request = Request(
        folder,
        needs,
        lambda subject, text: not checks[subject].why_not(text),
        seed,
        embedder,
        lambda *_, **__: None,
        trouble,
    )
    for source, options in sources:
        with progress(source.doing, source.steps(options, request)) as advance:
            offered = source.propose(options, dataclasses.replace(request, advance=advance))
        for subject, candidates in offered.items():
            proposed[subject] += candidates
    return proposed


def _write(
    plans: Sequence[CategoryPlan],
    files: Sequence[PromptFile],
    bank: PromptBank,
    change: BankChange,
) -> None:
    """The files first: from them `dataset.json` can be made again."""
    for plan, file in zip(plans, files, strict=True):
        if file != plan.file or (file.texts and not plan.path.exists()):
            write_prompts(plan.path, plan.subject.category, file)
    if not change.is_empty:
        write_bank(bank.root, change)


def _notes(plans: Sequence[CategoryPlan]) -> list[str]:
    """The categories whose name has several senses and that have no definition to tell which."""
    lines = []
    for plan in plans:
        senses = senses_of(plan.subject.category)
        if senses and plan.checks.meant is None:
            glosses = " or ".join(sense.gloss for sense in senses)
            what = f'"{plan.subject.category}" may be {glosses}'
            example = f'"definition": "{senses[0].gloss}"'
            lines.append(f"{what}; {example} in its entries would tell texts of the others apart")
    return lines


def _tell(
    plans: Sequence[CategoryPlan],
    choices: Sequence[ChosenTexts],
    change: BankChange,
    dry_run: bool,
) -> None:
    rows = [
        (
            plan.subject.category,
            len(choice.chosen),
            len(change.added[plan.subject.category]),
            len(change.removed[plan.subject.category]),
            str(plan.path),
        )
        for plan, choice in zip(plans, choices, strict=True)
    ]
    title = "texts that would be added (dry run)" if dry_run else "texts added"
    table(title, ("class", "texts", "entries", "entries removed", "file"), rows)
    left_out = sum((choice.left_out for choice in choices), Counter[str]())
    if left_out:
        say("left out: " + ", ".join(f"{n} {reason}" for reason, n in left_out.most_common()))
    for plan, choice in zip(plans, choices, strict=True):
        if dry_run:
            for item in choice.chosen:
                say(f"  {item.text}")
        if len(choice.chosen) < plan.need:
            warn(f"note: {plan.subject.category}: {len(choice.chosen)} of {plan.need} texts found")
    if not dry_run and not change.is_empty:
        say(f"{DATASET_FILE} is up to date; the one before is {BACKUP}")


def _tell_spread(bank: PromptBank, embedder: Embedder) -> None:
    columns, rows = report_rows(report_bank(bank, embedder))
    table(f"texts by source, and their spread by {embedder.name}", columns, rows)


def _report(bank: PromptBank, embedder: Embedder, dry_run: bool) -> int:
    """Print the figures of the texts that are there; write them, but in a dry run."""
    folder = bank.root / FOLDER
    if not dry_run:
        check_writable([folder / "report.json"])
    reports = report_bank(bank, embedder)
    table(f"texts by source, and their spread by {embedder.name}", *report_rows(reports))
    if dry_run:
        return 0
    write_json(folder / "report.json", report_json(reports, embedder))
    say(f"figures: {folder / 'report.json'}")
    plot = report_plot(reports, embedder)
    if plot is not None:
        write_sheet(folder / "report.png", plot)
        say(f"plot: {folder / 'report.png'}")
    return 0
