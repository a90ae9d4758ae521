"""The command that evaluates: masks, benchmarks, and synthetic support."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.device import known_precision
from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import check_writable, write_json, write_text
from aligndiff.core.options import CommandLine, choose_command, parse
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.evaluation.benchmarks.fold import Fold
from aligndiff.evaluation.benchmarks.table import has_folds, open_benchmark
from aligndiff.evaluation.compared import ComparedSegmenters, choose_compared
from aligndiff.evaluation.config import (
    EpisodesConfig,
    MasksConfig,
    OutputConfig,
    SegmenterRun,
    SupportGainConfig,
)
from aligndiff.evaluation.episodes import sample_episodes
from aligndiff.evaluation.evaluate import Evaluated, evaluate_episodes, evaluate_masks
from aligndiff.evaluation.final_masks import (
    FinalMasks,
    ScoredMasks,
    checked_masks,
    open_masks,
)
from aligndiff.evaluation.gain.config import GainConfig, GainRun, GainTraining
from aligndiff.evaluation.gain.run import measure_gain as compare_trainings
from aligndiff.evaluation.intervals import GainRow, fb_iou, gain_curve, gain_rows
from aligndiff.evaluation.mask_pairs import find_mask_pairs
from aligndiff.evaluation.report import (
    PROTOCOL,
    answers_sheet,
    gain_columns,
    gain_json,
    gain_plot,
    gain_sheet,
    score_columns,
    scores_json,
)
from aligndiff.evaluation.support_gain import GainTask, measure_gain, plan_gain
from aligndiff.render.sheet import write_sheet
from aligndiff.segmenters.load import SegmenterChoice, SegmenterOptions, load_segmenter

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Segmenter


EPILOG = "Every run writes its figures as JSON into --output_dir and replaces those of the last."


@dataclass(frozen=True)
class Use:
    """A sub-command: what it says of itself, its options by their heading, and what it does."""

    description: str
    configs: Mapping[str, type]
    run: Callable[[CommandLine], None]


def main(argv: Sequence[str], prog: str = "python -m scripts.evaluate") -> int:
    """Parse, validate, evaluate, report; returns the exit code."""
    texts = {name: use.description for name, use in USES.items()}
    name, rest = choose_command(prog, DESCRIPTION, texts, argv)
    use = USES[name]
    line = parse(f"{prog} {name}", use.description, EPILOG, use.configs, rest)
    quiet_libraries()
    use.run(line)
    return 0


def compare_masks(line: CommandLine) -> None:
    """Predicted masks against true ones."""
    config, output = line.config(MasksConfig), line.config(OutputConfig).output_dir
    figures = output / "masks.json"
    check_writable([figures])
    matched = find_mask_pairs(config.predicted, config.truth)
    for note in matched.notes:
        warn(f"note: {note}")
    with progress("comparing masks", len(matched.pairs)) as advance:
        evaluated = evaluate_masks(matched.pairs, advance)
    output.mkdir(parents=True, exist_ok=True)
    write_json(figures, scores_json(evaluated, _settings(config)))
    _report(f"{config.predicted} against {config.truth}", evaluated, figures)


def run_benchmark(line: CommandLine) -> None:
    """Segmenters on the episodes of a benchmark."""
    config, run = line.config(EpisodesConfig), line.config(SegmenterRun)
    masks_config = checked_masks(line.config(ScoredMasks))
    output = line.config(OutputConfig).output_dir
    fold = f"_fold{config.fold}" if has_folds(config.benchmark) else ""
    name = f"{config.benchmark}{fold}_{config.shot}shot"
    choices = choose_compared(line.config(ComparedSegmenters))
    files = {label: output / f"{name}{end}" for label, end in _ends(choices).items()}
    check_writable([Path(f"{file}{kind}") for file in files.values() for kind in (".json", ".png")])
    place = Fold(config.data_dir, config.fold, config.shot, config.splits_dir)
    test = open_benchmark(config.benchmark, place)
    if test.made_list:
        made = output / f"splits/{config.benchmark}/val/fold{config.fold}.txt"
        made.parent.mkdir(parents=True, exist_ok=True)
        write_text(made, "\n".join(test.made_list) + "\n")
        warn(f"note: no list of the fold's images; made {made} from the masks")
    episodes = sample_episodes(test, config.shot, config.episodes or test.usual_episodes, run.seed)
    title = f"{test.title}, {config.shot}-shot, {len(episodes)} episodes"
    side = config.side
    size = f"squeezed to {side} x {side} px" if side else "at their own size"
    masks = open_masks(masks_config, run.device)
    if config.shot == 1 and masks.options.regions == "object":
        warn("note: --regions object: of a lone pair nothing is learned about company")
    rows = []
    for label, choice in choices.items():
        figures, sheet = Path(f"{files[label]}.json"), Path(f"{files[label]}.png")
        segmenter = _load(choice, run)
        with _out_of_memory_in_words(), progress("episodes", len(episodes)) as advance:
            evaluated, shown = evaluate_episodes(
                segmenter, test, episodes, side, run.batch_size, advance, masks
            )
        output.mkdir(parents=True, exist_ok=True)
        write_json(figures, scores_json(evaluated, _settings(config, run, choice, masks)))
        if not run.no_sheet:
            write_sheet(sheet, answers_sheet(title, shown))
            say(f"masks of the first episodes: {sheet}")
        _report(f"{title}, images and truth {size}, {masks}", evaluated, figures)
        rows.append((label, choice.weights.name, evaluated.scores.miou, evaluated.scores.fb_iou))
    if unseen := [name for name in test.items if name not in evaluated.scores.classes]:
        what = "was no query, and mIoU leaves it out; ask for more --episodes"
        warn(f"note: of {', '.join(unseen)} there {what}")
    if len(rows) > 1:
        table(f"{title}, {masks}", ("segmenter", "weights", "mIoU", "FB-IoU"), rows)


def compare_support(line: CommandLine) -> None:
    """Real pairs as support, and real pairs with synthetic ones."""
    config, run = line.config(SupportGainConfig), line.config(SegmenterRun)
    masks_config = checked_masks(line.config(ScoredMasks))
    output = line.config(OutputConfig).output_dir
    bank = load_prompt_bank(config.synthetic, config.categories)
    choices = choose_compared(line.config(ComparedSegmenters), bank.defaults.fss_ckpt_path)
    files = {
        label: [output / f"{name}{end}{kind}" for name, kind in GAIN_FILES]
        for label, end in _ends(choices).items()
    }
    check_writable([path for paths in files.values() for path in paths])
    tasks = plan_gain(bank, config.test_dir, config.sources, config.entry_types, config.exclude)
    masks = open_masks(masks_config, run.device)
    totals = {
        label: _measure_support(tasks, choice, config, run, masks, files[label])
        for label, choice in choices.items()
    }
    if len(totals) > 1:
        names, lines = gain_columns(list(totals.values()))
        rows = [(label, *cells[4:]) for label, cells in zip(totals, lines, strict=True)]
        table(f"mIoU with each segmenter, {masks}", ("segmenter", *names[4:]), rows)


def _measure_support(
    tasks: Sequence[GainTask],
    choice: SegmenterChoice,
    config: SupportGainConfig,
    run: SegmenterRun,
    masks: FinalMasks,
    files: Sequence[Path],
) -> GainRow:
    """What synthetic support adds for one segmenter: told, written; returns the line of all."""
    figures, plot, sheet = files
    segmenter = _load(choice, run)
    total = sum(len(task.tests) for task in tasks)
    with _out_of_memory_in_words(), progress("test images", total) as advance:
        classes = measure_gain(segmenter, tasks, config, run.seed, run.batch_size, advance, masks)
    rows, curve = gain_rows(classes, config.resamples, run.seed), gain_curve(classes)
    figures.parent.mkdir(parents=True, exist_ok=True)
    write_json(figures, gain_json(classes, rows, curve, _settings(config, run, choice, masks)))
    write_sheet(plot, gain_plot(curve))
    if not run.no_sheet:
        write_sheet(sheet, gain_sheet(classes))
        say(f"masks of some test images: {sheet}")
    table(f"support from real pairs alone, and with synthetic ones, {masks}", *gain_columns(rows))
    before, after = (fb_iou([getattr(c, side) for c in classes]) for side in ("none", "all"))
    say(f"FB-IoU: {before:.3f} real alone, {after:.3f} with synthetic")
    say(PROTOCOL)
    say("Support is compared here, no network is trained: that does scripts.train_segmenter.")
    say(f"mIoU over the number of samples: {plot}")
    say(f"figures: {figures}")
    return rows[-1]


def _ends(choices: Mapping[str, SegmenterChoice]) -> dict[str, str]:
    """What the files of each segmenter end with: nothing, where there is one."""
    return {label: f"_{label}" if len(choices) > 1 else "" for label in choices}


GAIN_FILES = (("gain", ".json"), ("gain", ".png"), ("gain_masks", ".png"))
DESCRIPTION = "Score masks, a few-shot segmenter, or what synthetic support adds."
_SEGMENTER = {
    "segmenter": ComparedSegmenters,
    "masks": ScoredMasks,
    "run": SegmenterRun,
    "output": OutputConfig,
}
USES = {
    "masks": Use(
        "Score predicted masks against true ones.",
        {"masks": MasksConfig, "output": OutputConfig},
        compare_masks,
    ),
    "benchmark": Use(
        "Score a few-shot segmenter on the episodes of a benchmark.",
        {"benchmark": EpisodesConfig, **_SEGMENTER},
        run_benchmark,
    ),
    "support": Use(
        "Did it help? Held-out pairs, segmented by real support alone and with synthetic pairs.",
        {"support": SupportGainConfig, **_SEGMENTER},
        compare_support,
    ),
    "gain": Use(
        "Did it help? Segmenters trained from real pairs alone, and with samples and scenes.",
        {
            "data": GainConfig,
            "training": GainTraining,
            "segmenter": SegmenterOptions,
            "run": GainRun,
        },
        compare_trainings,
    ),
}


def _load(choice: SegmenterChoice, run: SegmenterRun) -> Segmenter:
    say(f"segmenter: {choice}")
    return load_segmenter(choice, run.device, run.precision, run.batch_size)


@contextmanager
def _out_of_memory_in_words() -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise AlignDiffError(
            "out of memory while segmenting: use a smaller --batch_size"
        ) from error


def _settings(
    config: Any,
    run: SegmenterRun | None = None,
    choice: SegmenterChoice | None = None,
    masks: FinalMasks | None = None,
) -> dict[str, Any]:
    """What decides the figures, for their file."""
    settings = asdict(config) | (asdict(masks.options) if masks else {})
    if run is not None and choice is not None:
        settings |= {
            "checkpoint": choice.identity,
            "precision": known_precision(run.precision, run.device),
            "seed": run.seed,
        }
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items()
    }


def _report(title: str, evaluated: Evaluated, figures: Path) -> None:
    table(title, *score_columns(evaluated))
    say(PROTOCOL)
    say(f"figures: {figures}")
