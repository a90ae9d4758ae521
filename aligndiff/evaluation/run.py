"""The three uses of scripts.evaluate: check, load, measure, write, tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.console import progress, say, table, warn
from aligndiff.core.device import known_precision
from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import check_writable, file_fingerprint, write_json, write_text
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.evaluation.benchmarks import BENCHMARKS
from aligndiff.evaluation.config import (
    BenchmarkConfig,
    EvaluationRun,
    GainConfig,
    MasksConfig,
)
from aligndiff.evaluation.episodes import sample_episodes
from aligndiff.evaluation.evaluate import Evaluated, evaluate_episodes, evaluate_masks
from aligndiff.evaluation.intervals import fb_iou, gain_curve, gain_rows
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
from aligndiff.evaluation.support_gain import measure_gain, plan_gain
from aligndiff.render.sheet import write_sheet
from aligndiff.segmenters.load import resolve_checkpoint

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Segmenter


def compare_masks(config: MasksConfig, run: EvaluationRun) -> None:
    """Predicted masks against true ones."""
    figures = run.output_dir / "masks.json"
    check_writable([figures])
    found = find_mask_pairs(config.predicted, config.truth)
    for note in found.notes:
        warn(f"note: {note}")
    with progress("comparing masks", len(found.pairs)) as advance:
        evaluated = evaluate_masks(found.pairs, advance)
    run.output_dir.mkdir(parents=True, exist_ok=True)
    write_json(figures, scores_json(evaluated, _settings(config)))
    _tell(f"{config.predicted} against {config.truth}", evaluated, figures)


def run_benchmark(config: BenchmarkConfig, run: EvaluationRun) -> None:
    """A segmenter on the episodes of a benchmark."""
    fold = "" if config.benchmark == "fss" else f"_fold{config.fold}"
    name = f"{config.benchmark}{fold}_{config.shot}shot"
    figures, sheet = run.output_dir / f"{name}.json", run.output_dir / f"{name}.png"
    check_writable([figures, sheet])
    chosen = resolve_checkpoint(run.fss_ckpt_path, None)
    test = BENCHMARKS[config.benchmark](config.data_dir, config.fold, config.splits_dir)
    if test.made_list:
        made = run.output_dir / f"splits/{config.benchmark}/val/fold{config.fold}.txt"
        made.parent.mkdir(parents=True, exist_ok=True)
        write_text(made, "\n".join(test.made_list) + "\n")
        warn(f"note: no list of the fold's images; made {made} from the masks")
    episodes = sample_episodes(test, config.shot, config.episodes or test.usual_episodes, run.seed)
    segmenter = _load_segmenter(chosen, run)
    with _memory_told(), progress("episodes", len(episodes)) as advance:
        evaluated, shown = evaluate_episodes(
            segmenter, test, episodes, config.image_side, run.batch_size, advance
        )
    run.output_dir.mkdir(parents=True, exist_ok=True)
    write_json(figures, scores_json(evaluated, _settings(config, run, chosen)))
    title = f"{test.title}, {config.shot}-shot, {len(episodes)} episodes"
    if not run.no_sheet:
        write_sheet(sheet, answers_sheet(title, shown))
        say(f"masks of the first episodes: {sheet}")
    if unseen := [name for name in test.items if name not in evaluated.scores.classes]:
        what = "was no query, and mIoU leaves it out; ask for more --episodes"
        warn(f"note: of {', '.join(unseen)} there {what}")
    side = config.image_side
    size = f"squeezed to {side} x {side} px" if side else "at their own size"
    _tell(f"{title}, images and truth {size}", evaluated, figures)


def compare_support(config: GainConfig, run: EvaluationRun) -> None:
    """Real pairs as support, and real pairs with synthetic ones."""
    figures, plot = run.output_dir / "gain.json", run.output_dir / "gain.png"
    sheet = run.output_dir / "gain_masks.png"
    check_writable([figures, plot, sheet])
    bank = load_prompt_bank(config.synthetic, config.categories)
    chosen = resolve_checkpoint(run.fss_ckpt_path, bank.defaults.fss_ckpt_path)
    tasks = plan_gain(bank, config.test_dir, config.sources, config.entry_types, config.exclude)
    segmenter = _load_segmenter(chosen, run)
    total = sum(len(task.tests) for task in tasks)
    with _memory_told(), progress("test images", total) as advance:
        classes = measure_gain(segmenter, tasks, config, run.seed, run.batch_size, advance)
    rows, curve = gain_rows(classes, config.resamples, run.seed), gain_curve(classes)
    run.output_dir.mkdir(parents=True, exist_ok=True)
    write_json(figures, gain_json(classes, rows, curve, _settings(config, run, chosen)))
    write_sheet(plot, gain_plot(curve))
    if not run.no_sheet:
        write_sheet(sheet, gain_sheet(classes))
        say(f"masks of some test images: {sheet}")
    table("support from real pairs alone, and with synthetic ones", *gain_columns(rows))
    before, after = fb_iou([one.none for one in classes]), fb_iou([one.all for one in classes])
    say(f"FB-IoU: {before:.3f} real alone, {after:.3f} with synthetic")
    say(PROTOCOL)
    say("Support is compared here, no network is trained: that does scripts.train_segmenter.")
    say(f"mIoU over the number of samples: {plot}")
    say(f"figures: {figures}")


def _load_segmenter(chosen: ModelChoice, run: EvaluationRun) -> Segmenter:
    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.segmenters.ssp.checkpoint import load_ssp
    from aligndiff.segmenters.ssp.segmenter import SSPSegmenter

    say(f"segmenter checkpoint: {chosen}")
    device = choose_device(run.device)
    dtype = choose_dtype(run.precision, device)
    checkpoint = load_ssp(Path(chosen.location))
    return SSPSegmenter(checkpoint.network, checkpoint.input_side, device, dtype, run.batch_size)


@contextmanager
def _memory_told() -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise AlignDiffError(
            "out of memory while segmenting: use a smaller --batch_size"
        ) from error


def _settings(
    config: Any, run: EvaluationRun | None = None, chosen: ModelChoice | None = None
) -> dict[str, Any]:
    """What decides the figures, for their file."""
    settings = asdict(config)
    if run is not None and chosen is not None:
        identity = f"{chosen.name} {file_fingerprint(chosen.location)}"
        settings |= {
            "checkpoint": identity,
            "precision": known_precision(run.precision, run.device),
            "seed": run.seed,
        }
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in settings.items()
    }


def _tell(title: str, evaluated: Evaluated, figures: Path) -> None:
    table(title, *score_columns(evaluated))
    say(PROTOCOL)
    say(f"figures: {figures}")
