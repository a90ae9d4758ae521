"""The sub-command `evaluate gain`: plan, choose recipes, train, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.annotations.backgrounds import BackgroundPhoto, find_backgrounds
from aligndiff.core.console import progress, say, table, warn
from aligndiff.core.device import available_cores, known_precision, visible_gpus
from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import check_writable, file_fingerprint, fingerprint, write_json
from aligndiff.core.options import CommandLine
from aligndiff.core.ranks import note_progress, shard
from aligndiff.dataset.layout import BACKGROUNDS
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.evaluation.gain.classes import GainClass, find_classes
from aligndiff.evaluation.gain.config import (
    GainConfig,
    GainRun,
    GainTraining,
)
from aligndiff.evaluation.gain.figures import compare, gain_curve
from aligndiff.evaluation.gain.networks import NetworkChoice, choose_network
from aligndiff.evaluation.gain.plan import ARMS, GainPlan, left_out, plan_gain
from aligndiff.evaluation.gain.recipes import RECIPES
from aligndiff.evaluation.gain.report import (
    batches_sheet,
    gain_cells,
    gain_json,
    gain_plot,
    recipe_cells,
)
from aligndiff.evaluation.gain.units import (
    REAL,
    SYNTHETIC,
    Choice,
    GainUnit,
    UnitRecords,
    choose_recipe,
)
from aligndiff.render.sheet import write_sheet
from aligndiff.runner.local import end_with_parent, read_assignment, run_workers
from aligndiff.segmenters.load import (
    SegmenterChoice,
    SegmenterOptions,
    can_adapt,
    choose_segmenter,
)

if TYPE_CHECKING:
    from aligndiff.evaluation.gain.work import UnitWork

COMMAND = "aligndiff"
RECORDS = "trainings"
_MOST_CPU_WORKERS = 8  # each takes half a gigabyte


@dataclass(frozen=True)
class GainEvaluation:
    """One run: what is compared, how it is trained, where."""

    line: CommandLine
    plan: GainPlan
    training: GainTraining
    run: GainRun
    network: NetworkChoice
    few_shot: SegmenterChoice | None
    backgrounds: tuple[BackgroundPhoto, ...]
    records: UnitRecords
    settings: dict[str, Any]


def measure_gain(line: CommandLine) -> None:
    """Segmenters trained from real pairs alone, and with samples and scenes."""
    evaluation = _prepare(line)
    assigned = read_assignment().units
    if assigned is not None:
        end_with_parent()
        possible = evaluation.plan.possible()
        _do(evaluation, [possible[number] for number in assigned], note_progress)
        return
    output = evaluation.run.output_dir
    files = {name: output / name for name in ("gain.json", "gain.png", "gain_batches.png")}
    check_writable(files.values())
    _describe(evaluation)
    plan = evaluation.plan
    if evaluation.run.overwrite:
        for unit in plan.possible():
            evaluation.records.path(unit).unlink(missing_ok=True)
    candidates = [unit for arm in ARMS for unit in plan.candidates(arm)]
    finals = plan.needed(_choose(plan, None))
    _estimate(evaluation, evaluation.records.missing({*candidates, *finals}))
    if not evaluation.run.no_sheet:
        _write_batches(evaluation, files["gain_batches.png"])
    _carry_out(evaluation, candidates, "choosing recipes")
    choices = _choose(plan, evaluation.records)
    _carry_out(evaluation, plan.needed(choices), "training")
    _report(evaluation, choices, files)


def _prepare(line: CommandLine) -> GainEvaluation:
    """Everything that can be wrong is found here, before a model is loaded."""
    config, training = line.config(GainConfig), line.config(GainTraining)
    run = line.config(GainRun)
    bank = load_prompt_bank(config.dataset_dir, config.categories)
    network = choose_network(training.model)
    few_shot = _few_shot(line, bank)
    classes = find_classes(bank, config)
    drawn = bank.root / BACKGROUNDS
    backgrounds = find_backgrounds(config.backgrounds or (drawn if drawn.is_dir() else None))
    plan = plan_gain(
        classes,
        config,
        training.recipes,
        has_surroundings=bool(backgrounds) or len(classes) > 1,
        has_few_shot=few_shot is not None,
        can_adapt=few_shot is not None and can_adapt(few_shot.name),
    )
    if not plan.recipes:
        raise AlignDiffError("no recipe of --recipes can be tried here; name others")
    settings = _settings(training, run, network, few_shot, classes, backgrounds)
    # What only says how often things are drawn decides no single training.
    records = UnitRecords(run.output_dir / RECORDS, {**settings, "folds": plan.folds})
    told = asdict(config) | settings
    told = {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}
    return GainEvaluation(line, plan, training, run, network, few_shot, backgrounds, records, told)


def _few_shot(line: CommandLine, bank: PromptBank) -> SegmenterChoice | None:
    """The few-shot segmenter, where one is named: by an option or in dataset.json."""
    options = line.config(SegmenterOptions)
    default = bank.defaults.fss_ckpt_path
    if options.fss_ckpt_path is None and default is None:
        return None
    return choose_segmenter(options, default)


def _settings(
    training: GainTraining,
    run: GainRun,
    network: NetworkChoice,
    few_shot: SegmenterChoice | None,
    classes: Sequence[GainClass],
    backgrounds: Sequence[BackgroundPhoto],
) -> dict[str, Any]:
    """What decides the figures of a training, beside its unit."""
    return {
        **{name: value for name, value in asdict(training).items() if name != "recipes"},
        "lr": training.lr or network.rate,
        "precision": known_precision(training.precision, run.device),
        "model": network.identity,
        "few_shot": few_shot.identity if few_shot else None,
        "backgrounds": fingerprint([file_fingerprint(photo.path) for photo in backgrounds]),
        "pairs": {pairs.category: _pairs_fingerprint(pairs) for pairs in classes},
    }


def _pairs_fingerprint(pairs: GainClass) -> str:
    samples = [[sample.name, sample.record.refinement] for sample in pairs.samples]
    photos = [
        [file_fingerprint(pair.image), file_fingerprint(pair.mask), str(pair.mask_class)]
        for pair in (*pairs.real, *pairs.tests, *pairs.validation)
    ]
    return fingerprint([samples, photos])


def _describe(evaluation: GainEvaluation) -> None:
    """What there is to learn from and to test on, and what that says of the answer."""
    plan, config = evaluation.plan, evaluation.plan.config
    for pairs in plan.classes:
        tests = f"{len(pairs.tests)} tests" if pairs.tests else "tested by leave-out"
        say(f"{pairs.category}: {len(pairs.real)} real, {len(pairs.samples)} samples, {tests}")
    say(f"network: {evaluation.network.chosen.name}; few-shot: {evaluation.few_shot or 'none'}")
    if config.test_dir is None:
        warn(
            "note: no --test_dir: real pairs are left out in turn to test on, but the samples were "
            "made with all of them, which flatters the samples"
        )
    if not plan.chooses:
        warn("note: too few real pairs to choose a recipe by: both sides take the same one")
    elif plan.holds_out:
        warn("note: no --val_dir: recipes are chosen by few real pairs, held out for it")
    for name in left_out(plan, evaluation.training.recipes):
        recipe = RECIPES[name]
        reason = "no --backgrounds, and one class alone" if recipe.needs_backgrounds else ""
        if recipe.learner != "network" and evaluation.few_shot is None:
            reason = "no --fss_ckpt_path"
        warn(f"note: recipe left out: {recipe.words} ({reason or 'the segmenter cannot learn'})")


def _choose(plan: GainPlan, records: UnitRecords | None) -> dict[tuple[str, str], Choice]:
    """The recipe of each contest and arm; without records any, as their number is the same."""
    choices = {}
    for contest in plan.contests:
        for arm in ARMS:
            if records is None:
                trained = [r for r in contest.recipes if r.is_trained] or contest.recipes[:1]
                choices[contest.name, arm] = Choice(trained[0], {})
            else:
                tried = plan.candidates(arm)
                choices[contest.name, arm] = choose_recipe(records, tried, contest.recipes)
    return choices


def _estimate(evaluation: GainEvaluation, missing: Sequence[GainUnit]) -> None:
    """Say how many trainings there are, and about how long they take here."""
    from aligndiff.evaluation.gain.work import first_of_each_learner

    trained = [unit for unit in missing if RECIPES[unit.recipe].is_trained]
    if not trained:
        return
    training = evaluation.training
    steps = {"network": training.steps, "few_shot": training.few_shot_steps}
    work, processes = _work(evaluation), len(_devices(evaluation, len(trained))) or 1
    seconds, parts = 0.0, []
    for learner, unit in first_of_each_learner(trained).items():
        recipes = [RECIPES[unit.recipe] for unit in trained]
        parts_of_it = [recipe.steps for recipe in recipes if recipe.learner == learner]
        count = len(parts_of_it)
        seconds += sum(parts_of_it) * steps[learner] * work.seconds_a_step(unit)
        parts.append(f"{count} trainings of {steps[learner]} steps")
    minutes = max(1, round(seconds / processes / 60))
    where = "1 process" if processes == 1 else f"{processes} processes"
    say(f"{' and '.join(parts)}: about {minutes} minutes here, in {where}")


def _write_batches(evaluation: GainEvaluation, path: Path) -> None:
    """A sheet of what the arms learn from."""
    work, plan = _work(evaluation), evaluation.plan
    recipe = plan.recipes[0]
    units = {arm: plan.finals(arm, recipe)[0] for arm in (REAL, SYNTHETIC)}
    arms = {arm: work.material(unit) for arm, unit in units.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sheet(path, batches_sheet(f"What is learned from: {plan.classes[0].category}", arms))
    say(f"what is learned from: {path}")


def _carry_out(evaluation: GainEvaluation, units: Sequence[GainUnit], activity: str) -> None:
    """Do those of the units that have no record. AlignDiffError when a worker could not."""
    missing = evaluation.records.missing(units)
    if not missing:
        return
    devices = _devices(evaluation, len(missing))
    if len(devices) < 2:
        with progress(activity, len(missing)) as advance:
            _do(evaluation, missing, advance)
        return
    possible = {unit: number for number, unit in enumerate(evaluation.plan.possible())}
    numbers = sorted(possible[unit] for unit in missing)
    shards = [shard(numbers, rank, len(devices)) for rank in range(len(devices))]
    argv = [word for word in evaluation.line.argv if word != "--overwrite"]
    argv += ["--precision", evaluation.settings["precision"]]
    totals = {"": len(missing)}
    run_workers(
        COMMAND,
        ["evaluate", "gain", *argv],
        devices,
        shards,
        evaluation.run.retries,
        totals,
        activity,
    )
    if left := evaluation.records.missing(units):
        raise AlignDiffError(f"{len(left)} trainings were not done; the same command goes on")


def _do(evaluation: GainEvaluation, units: Sequence[GainUnit], advance: Any) -> None:
    """Do units one by one, in this process."""
    from aligndiff.evaluation.gain.work import units_in_order

    work = _work(evaluation)
    for unit in units_in_order(units):
        if evaluation.records.get(unit) is None:
            evaluation.records.put(unit, work.do(unit))
        advance()


def _work(evaluation: GainEvaluation) -> UnitWork:
    import torch

    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.evaluation.gain.learn import Machine
    from aligndiff.evaluation.gain.work import UnitWork
    from aligndiff.segmenters.trained.learn import Budget

    training = evaluation.training
    device = choose_device(evaluation.run.device)
    dtype = choose_dtype(evaluation.settings["precision"], device)
    if dtype == torch.float16:  # gradients of it would have to be scaled
        dtype = torch.float32
    budget = Budget(training.steps, training.batch_size, evaluation.settings["lr"])
    few_shot = Budget(training.few_shot_steps, training.batch_size)
    machine = Machine(evaluation.network, evaluation.few_shot, budget, few_shot, device, dtype)
    return UnitWork(evaluation.plan, evaluation.backgrounds, machine, training.side, training.seed)


def _devices(evaluation: GainEvaluation, most: int) -> list[str | None]:
    """A device for each process: GPUs in turn, or None for a process on the CPU."""
    run = evaluation.run
    gpus = visible_gpus() if run.device in ("auto", "cuda") else []
    on_cpu = run.device == "cpu" or (run.device == "auto" and not gpus)
    cores = min(available_cores(), _MOST_CPU_WORKERS) if on_cpu else 1
    count = min(run.workers or len(gpus) or cores, most)
    return [gpus[rank % len(gpus)] if gpus else None for rank in range(count)]


def _report(
    evaluation: GainEvaluation, choices: dict[tuple[str, str], Choice], files: dict[str, Path]
) -> None:
    plan, records = evaluation.plan, evaluation.records
    lines = compare(plan, records, choices, evaluation.training.seed)
    curve = gain_curve(plan, records, choices)
    evaluation.run.output_dir.mkdir(parents=True, exist_ok=True)
    told = gain_json(plan, choices, lines, curve, evaluation.settings)
    write_json(files["gain.json"], told)
    write_sheet(files["gain.png"], gain_plot(curve))
    if plan.chooses:
        table("mIoU on validation; * the recipe that is taken", *recipe_cells(plan, choices))
    table("IoU on the test, and the gain in points", *gain_cells(lines))
    draws, seeds = plan.config.draws, plan.config.seeds
    say(f"{draws} draws, {seeds} seeds; intervals redraw the test images and the draws")
    say(f"mIoU over the number of samples: {files['gain.png']}")
    say(f"figures: {files['gain.json']}")
